//! The page to talk to the models: files that say nothing about anybody and load nothing from elsewhere.
//!
//! The policy lets nothing run or be asked for that does not come from here, and no text become elements
//! (<https://www.w3.org/TR/CSP3/>, <https://www.w3.org/TR/trusted-types/>). What models and clients say is shown as text.

use super::state::ServerState;
use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::IntoResponse;
use axum::routing::get;
use std::sync::Arc;

/// A file of the page.
struct File {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
}

macro_rules! file {
    ($path:literal, $kind:literal, $name:literal) => {
        File { path: $path, kind: $kind, text: include_str!(concat!("../page/", $name)) }
    };
}

const FILES: [File; 8] = [
    file!("/", "text/html; charset=utf-8", "index.html"),
    file!("/page/style.css", "text/css; charset=utf-8", "style.css"),
    file!("/page/icon.svg", "image/svg+xml", "icon.svg"),
    file!("/page/main.js", "text/javascript; charset=utf-8", "main.js"),
    file!("/page/api.js", "text/javascript; charset=utf-8", "api.js"),
    file!("/page/conversation.js", "text/javascript; charset=utf-8", "conversation.js"),
    file!("/page/settings.js", "text/javascript; charset=utf-8", "settings.js"),
    file!("/page/text.js", "text/javascript; charset=utf-8", "text.js"),
];

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

/// Headers of every file beside its type.
const HEADERS: [(HeaderName, HeaderValue); 6] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    // Another version of the program has other files at the same paths.
    (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// Whether the page has a file at this path.
pub(crate) fn has(path: &str) -> bool {
    FILES.iter().any(|file| file.path == path)
}

/// The paths of the page, if there is to be one.
pub(crate) fn routes(wanted: bool) -> Router<Arc<ServerState>> {
    let files = FILES.iter().filter(|_| wanted);
    files.fold(Router::new(), |router, file| {
        let answer = || async { (HEADERS, [(header::CONTENT_TYPE, file.kind)], file.text).into_response() };
        router.route(file.path, get(answer))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_page_is_small_and_whole() {
        let bytes: usize = FILES.iter().map(|file| file.text.len()).sum();
        assert!(bytes <= 40 << 10, "{bytes} bytes");
        // What the files name is among them, and there is nothing else.
        let quoted = FILES.iter().flat_map(|file| file.text.split('"'));
        let named = quoted.filter_map(|name| name.strip_prefix("page/").or(name.strip_prefix("./")));
        let named: BTreeSet<String> = named.map(|name| format!("/page/{name}")).collect();
        let files = FILES.iter().map(|file| file.path.to_owned()).filter(|path| path != "/");
        assert_eq!(named, files.collect());
    }
}
