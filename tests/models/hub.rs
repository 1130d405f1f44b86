//! A model given as a hub id, against a local server that speaks the hub's file API.

use crate::support::events::Recorder;
use crate::support::hub::{Behaviour, COMMIT, Hub, ID, model, sha256};
use olive_core::event::Event;
use olive_model::hub_account::account;
use olive_model::hub_folder::{OtherFiles, download};
use olive_model::{SourceOptions, resolve};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[test]
fn is_fetched_once_and_then_found_in_the_cache_without_a_request() {
    let files = model();
    let hub = Hub::serve(files.clone(), Behaviour::default());
    let cache = tempfile::tempdir().unwrap();
    let mut options = hub.options(cache.path());
    let log = Recorder::default();
    let dir = resolve(ID, None, &options, &log).unwrap();
    assert_eq!(dir, cache.path().join("models--tiny--llama/snapshots").join(COMMIT));
    for name in ["config.json", "tokenizer.json", "chat_template.jinja", "model.safetensors"] {
        assert_eq!(std::fs::read(dir.join(name)).unwrap(), files[name], "{name}");
    }
    for unwanted in ["pytorch_model.bin", "modeling_custom.py", "onnx"] {
        assert!(!dir.join(unwanted).exists(), "{unwanted} was fetched");
    }
    let events = log.events();
    assert!(events.iter().any(|e| matches!(e, Event::PhaseStarted { total: Some(1..), .. })), "{events:?}");
    assert!(matches!(events.last(), Some(Event::PhaseFinished { .. })), "{events:?}");
    assert!(!hub.requests().is_empty());

    options.offline = true;
    assert_eq!(resolve(ID, None, &options, &()).unwrap(), dir);
    options.offline = false;
    assert_eq!(resolve(ID, Some(COMMIT), &options, &()).unwrap(), dir);
    assert_eq!(hub.requests(), [""; 0], "the cache was enough");

    // Online, the hub is asked whether `main` moved, but no file is sent again.
    assert_eq!(resolve(ID, None, &options, &()).unwrap(), dir);
    assert!(hub.requests().iter().all(|r| !r.starts_with("GET /tiny/")), "files were fetched again");
}

#[test]
fn without_a_network_the_cached_copy_is_used_with_a_warning() {
    let files = model();
    let hub = Hub::serve(files, Behaviour::default());
    let cache = tempfile::tempdir().unwrap();
    let mut options = hub.options(cache.path());
    let dir = resolve(ID, None, &options, &()).unwrap();
    options.endpoint = Some("http://127.0.0.1:9".into()); // Nobody listens there.
    let log = Recorder::default();
    assert_eq!(resolve(ID, None, &options, &log).unwrap(), dir);
    assert!(matches!(log.events().as_slice(), [Event::Warning { .. }]));
    let error = resolve("tiny/other", None, &options, &()).unwrap_err();
    assert!(error.to_string().contains("cannot be reached"), "{error}");
    assert!(error.hint().unwrap().contains("local folder"));
}

#[test]
fn ctrl_c_stops_a_download() {
    let files = model();
    let hub = Hub::serve(files, Behaviour::default());
    let cache = tempfile::tempdir().unwrap();
    let options = hub.options(cache.path());
    options.cancel.raise();
    assert!(resolve(ID, None, &options, &()).is_err_and(|error| error.is_interruption()));
}

#[test]
fn a_model_that_is_not_there_is_named() {
    let hub = Hub::serve(BTreeMap::new(), Behaviour::default());
    let cache = tempfile::tempdir().unwrap();
    let mut options = hub.options(cache.path());
    let error = resolve("tiny/lama", None, &options, &()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`tiny/lama` is no folder here, and could not be fetched from the hub: there is no such model (404)"
    );
    assert!(error.hint().unwrap().contains("check the name"));
    let error = resolve(ID, Some("v2"), &options, &()).unwrap_err();
    assert!(error.to_string().contains("404"), "{error}");
    options.offline = true;
    let error = resolve("tiny/lama", None, &options, &()).unwrap_err();
    assert!(error.to_string().contains("not in the cache"), "{error}");
    assert!(error.hint().unwrap().contains("without --offline"));
}

#[test]
fn a_gated_model_needs_the_right_token() {
    let files = model();
    let hub = Hub::serve(files, Behaviour { token: Some("secret"), ..Default::default() });
    let cache = tempfile::tempdir().unwrap();
    let mut options = hub.options(cache.path());
    let error = resolve(ID, None, &options, &()).unwrap_err();
    assert!(error.to_string().contains("401"), "{error}");
    assert!(error.hint().unwrap().contains("HF_TOKEN"));
    options.token = Some("another".into());
    let error = resolve(ID, None, &options, &()).unwrap_err();
    assert!(error.to_string().contains("403") && !error.to_string().contains("another"), "{error}");
    options.token = Some("secret".into());
    assert!(resolve(ID, None, &options, &()).unwrap().join("model.safetensors").is_file());
}

#[test]
fn a_download_that_ends_early_or_is_damaged_does_not_stay_in_the_cache() {
    let files = model();
    let announced = format!("the hub announced {}", files["model.safetensors"].len());
    let cases = [
        (Behaviour { short: true, ..Default::default() }, announced.as_str()),
        (Behaviour { cut_off: true, ..Default::default() }, "in the middle of a file"),
        (Behaviour { corrupt: true, ..Default::default() }, "checksum"),
    ];
    for (behaviour, what) in cases {
        let hub = Hub::serve(files.clone(), behaviour);
        let cache = tempfile::tempdir().unwrap();
        let mut options = hub.options(cache.path());
        let error = resolve(ID, None, &options, &()).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
        options.offline = true;
        assert!(resolve(ID, None, &options, &()).is_err(), "{what}: a damaged model is in the cache");
        options.offline = false;
        *hub.behaviour.lock().unwrap() = Behaviour::default();
        let dir = resolve(ID, None, &options, &()).unwrap();
        assert_eq!(std::fs::read(dir.join("model.safetensors")).unwrap(), files["model.safetensors"]);
    }
}

const WEIGHTS: &str = "model.safetensors";

fn blobs(cache: &Path) -> PathBuf {
    cache.join("models--tiny--llama/blobs")
}

#[test]
fn what_arrived_of_a_file_is_not_sent_again() {
    let files = model();
    let hub = Hub::serve(files.clone(), Behaviour::default());
    let cache = tempfile::tempdir().unwrap();
    let weights = &files[WEIGHTS];
    let partial = blobs(cache.path()).join(format!("{}.incomplete", sha256(weights)));
    std::fs::create_dir_all(partial.parent().unwrap()).unwrap();
    std::fs::write(&partial, &weights[..1000]).unwrap();
    let dir = resolve(ID, None, &hub.options(cache.path()), &()).unwrap();
    assert_eq!(std::fs::read(dir.join(WEIGHTS)).unwrap(), *weights);
    assert!(!partial.exists());
    let sent: Vec<String> =
        hub.requests().into_iter().filter(|r| r.starts_with("GET") && r.contains(WEIGHTS)).collect();
    assert_eq!(sent, [format!("GET /{ID}/resolve/{COMMIT}/{WEIGHTS} from 1000")]);

    // A beginning of something else is found out, and all is fetched.
    let cache = tempfile::tempdir().unwrap();
    let partial = blobs(cache.path()).join(partial.file_name().unwrap());
    std::fs::create_dir_all(partial.parent().unwrap()).unwrap();
    for wrong in [weights.len() - 1, weights.len(), weights.len() + 1] {
        std::fs::write(&partial, vec![7; wrong]).unwrap();
        let dir = resolve(ID, None, &hub.options(cache.path()), &()).unwrap();
        assert_eq!(std::fs::read(dir.join(WEIGHTS)).unwrap(), *weights);
        std::fs::remove_dir_all(cache.path().join("models--tiny--llama/snapshots")).unwrap();
        std::fs::remove_file(blobs(cache.path()).join(sha256(weights))).unwrap();
    }
}

#[test]
fn a_connection_that_breaks_is_taken_up_where_it_broke() {
    let files = model();
    let hub = Hub::serve(files, Behaviour { cut_off: true, ..Default::default() });
    let cache = tempfile::tempdir().unwrap();
    assert!(resolve(ID, None, &hub.options(cache.path()), &()).is_err());
    let from = |request: &str| request.rsplit_once(" from ").map(|(_, from)| from.parse::<u64>().unwrap());
    let starts: Vec<u64> = hub.requests().iter().filter_map(|r| from(r)).collect();
    assert!(starts.len() == 2 && starts[0] < starts[1], "{starts:?}");
    // What came is there for the next run.
    hub.behaviour.lock().unwrap().cut_off = false;
    resolve(ID, None, &hub.options(cache.path()), &()).unwrap();
    assert!(hub.requests().iter().filter_map(|r| from(r)).any(|from| from > starts[1]));
}

#[test]
fn a_server_cannot_write_outside_the_cache() {
    let files = model();
    let cases = [
        Behaviour { commit: Some("../../../../escaped"), ..Default::default() },
        Behaviour { commit: Some("/tmp/olive-escaped"), ..Default::default() },
        Behaviour { tag: Some("../../../escaped"), ..Default::default() },
        Behaviour { tag: Some("/tmp/olive-escaped"), ..Default::default() },
        Behaviour { tag: Some(""), ..Default::default() },
    ];
    for behaviour in cases {
        let hub = Hub::serve(files.clone(), behaviour);
        let around = tempfile::tempdir().unwrap();
        let cache = around.path().join("cache");
        let error = resolve(ID, None, &hub.options(&cache), &()).unwrap_err();
        assert!(error.to_string().contains("not one of the hub"), "{error}");
        assert!(error.hint().unwrap().contains("HF_ENDPOINT"));
        assert!(!cache.join(format!("models--tiny--llama/snapshots/{COMMIT}/{WEIGHTS}")).exists());
        let mut there = std::fs::read_dir(around.path()).unwrap().map(|e| e.unwrap().file_name());
        assert!(there.all(|name| name == "cache"), "something was written beside the cache");
    }
    assert!(!Path::new("/tmp/olive-escaped").exists());
    for revision in ["../../../escaped", "/tmp/olive-escaped", "a//b", "main?x=", ""] {
        let hub = Hub::serve(files.clone(), Behaviour::default());
        let cache = tempfile::tempdir().unwrap();
        let error = resolve(ID, Some(revision), &hub.options(cache.path()), &()).unwrap_err();
        assert!(error.to_string().contains("no revision"), "{error}");
        assert_eq!(hub.requests(), [""; 0]);
    }
}

#[test]
fn a_reference_in_the_cache_leads_to_a_commit_only() {
    let cache = tempfile::tempdir().unwrap();
    let elsewhere = cache.path().join("models--tiny--llama/elsewhere");
    std::fs::create_dir_all(&elsewhere).unwrap();
    for (name, content) in model() {
        let path = elsewhere.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let refs = cache.path().join("models--tiny--llama/refs");
    std::fs::create_dir_all(&refs).unwrap();
    std::fs::create_dir_all(cache.path().join("models--tiny--llama/snapshots")).unwrap();
    for commit in ["../elsewhere", elsewhere.to_str().unwrap(), ""] {
        std::fs::write(refs.join("main"), commit).unwrap();
        let options = SourceOptions { offline: true, cache: cache.path().into(), ..Default::default() };
        let error = resolve(ID, None, &options, &()).unwrap_err();
        assert!(error.to_string().contains("it is not in the cache"), "{commit}: {error}");
    }
}

#[test]
fn the_token_stays_with_the_hub() {
    let files = model();
    let store = Hub::serve(files.clone(), Behaviour::default());
    let elsewhere = Some(store.endpoint.replace("127.0.0.1", "localhost"));
    let hub = Hub::serve(files.clone(), Behaviour { token: Some("secret"), elsewhere, ..Default::default() });
    let cache = tempfile::tempdir().unwrap();
    let mut options = hub.options(cache.path());
    options.token = Some("secret".into());
    let dir = resolve(ID, None, &options, &()).unwrap();
    assert_eq!(std::fs::read(dir.join(WEIGHTS)).unwrap(), files[WEIGHTS]);
    assert_eq!(store.requests(), [format!("GET /{ID}/resolve/{COMMIT}/{WEIGHTS}")]);
    assert!(hub.requests().iter().all(|request| request.ends_with("with a token")));
}

#[test]
fn a_model_gets_a_folder_of_its_own_that_can_be_changed_without_harm() {
    let files = model();
    let hub = Hub::serve(files.clone(), Behaviour::default());
    let dir = tempfile::tempdir().unwrap();
    let (options, folder) = (hub.options(&dir.path().join("cache")), dir.path().join("models/llama"));
    let fetch = |others| download(ID, "main", &folder, others, &options, &());
    let first = fetch(OtherFiles::Refuse).unwrap();
    assert_eq!((first.commit.as_str(), first.written), (COMMIT, first.files));
    for name in ["config.json", "tokenizer.json", "chat_template.jinja", "model.safetensors"] {
        assert_eq!(std::fs::read(folder.join(name)).unwrap(), files[name], "{name}");
    }
    assert!(!folder.join("modeling_custom.py").exists() && !folder.join("pytorch_model.bin").exists());

    // What is missing comes again; what is there is let be.
    std::fs::remove_file(folder.join("config.json")).unwrap();
    assert_eq!(fetch(OtherFiles::Refuse).unwrap().written, 1);
    assert_eq!(fetch(OtherFiles::Refuse).unwrap().written, 0);

    // A change here is none of the cache.
    std::fs::write(folder.join("config.json"), "{}").unwrap();
    let error = fetch(OtherFiles::Refuse).unwrap_err();
    assert!(
        error.to_string().contains("config.json") && error.hint().unwrap().contains("--overwrite"),
        "{error}"
    );
    assert_eq!(fetch(OtherFiles::Replace).unwrap().written, 1);
    assert_eq!(std::fs::read(folder.join("config.json")).unwrap(), files["config.json"]);
}

#[test]
fn a_download_into_a_folder_goes_on_where_it_broke_off() {
    let files = model();
    let hub = Hub::serve(files.clone(), Behaviour { cut_off: true, ..Default::default() });
    let dir = tempfile::tempdir().unwrap();
    let (options, folder) = (hub.options(&dir.path().join("cache")), dir.path().join("llama"));
    let fetch = || download(ID, "main", &folder, OtherFiles::Refuse, &options, &());
    assert!(fetch().unwrap_err().to_string().contains("broke"));
    assert!(!folder.exists(), "half a model is none");
    *hub.behaviour.lock().unwrap() = Behaviour::default();
    hub.requests();
    fetch().unwrap();
    let resumed = hub.requests().iter().any(|request| request.contains("model.safetensors from "));
    assert!(resumed, "it began anew");
    assert_eq!(std::fs::read(folder.join("model.safetensors")).unwrap(), files["model.safetensors"]);
}

#[test]
fn a_token_has_an_owner_or_is_refused() {
    let hub = Hub::serve(BTreeMap::new(), Behaviour { token: Some("secret"), ..Default::default() });
    assert_eq!(account("secret", Some(&hub.endpoint)).unwrap().name, "ada");
    let error = account("another", Some(&hub.endpoint)).unwrap_err();
    assert!(error.to_string().contains("does not know this token") && !error.to_string().contains("another"));
    let error = account("secret", Some("http://127.0.0.1:9")).unwrap_err();
    assert!(error.to_string().contains("cannot be reached"), "{error}");
}
