//! Asks a library for its version before anything is initialised: an ONNX Runtime that is older than the API asked
//! for has been seen to hang in initialisation instead of failing.

use super::RuntimeError;
use std::ffi::CStr;
use std::path::Path;

/// The minor version of ONNX Runtime 1.x whose API this build asks for.
pub const NEEDED_MINOR: u32 = ort::MINOR_VERSION;

/// The version that the library at `path` gives, for example `1.32.0`.
///
/// The library stays loaded when it can be used, because it is about to be; unloading ONNX Runtime is not safe.
///
/// # Errors
/// The file cannot be loaded, is not ONNX Runtime, or is older than [`NEEDED_MINOR`].
pub fn version(path: &Path) -> Result<String, RuntimeError> {
    let refuse = |reason: String| RuntimeError::NotTheLibrary { path: path.to_owned(), reason };
    // dlopen would search the system's folders for a bare name.
    let path = std::path::absolute(path).map_err(|e| refuse(e.to_string()))?;
    if !path.is_file() {
        return Err(refuse("there is no such file".into()));
    }
    let (library, version) = open(&path).map_err(&refuse)?;
    if minor(&version).is_none_or(|minor| minor < NEEDED_MINOR) {
        return Err(RuntimeError::TooOld { path, version, needed: NEEDED_MINOR });
    }
    std::mem::forget(library);
    Ok(version)
}

#[expect(unsafe_code, reason = "loading a library and calling its one entry point")]
fn open(path: &Path) -> Result<(libloading::Library, String), String> {
    // SAFETY: loading runs the library's initialisers; the path is one that the user, the Python installation or
    // our own download names as ONNX Runtime. `OrtGetApiBase` has had this signature since 1.0, returns a pointer to
    // a static table, and `GetVersionString` returns a static, NUL-terminated string.
    unsafe {
        let library = libloading::Library::new(path).map_err(|e| e.to_string())?;
        let base = {
            let get: libloading::Symbol<unsafe extern "C" fn() -> *const ort::sys::OrtApiBase> =
                library.get(b"OrtGetApiBase\0").map_err(|_| "it does not export OrtGetApiBase".to_owned())?;
            get()
        };
        if base.is_null() {
            return Err("OrtGetApiBase returned nothing".into());
        }
        let version = ((*base).GetVersionString)();
        if version.is_null() {
            return Err("it does not say its version".into());
        }
        let version = CStr::from_ptr(version).to_string_lossy().into_owned();
        Ok((library, version))
    }
}

/// `32` of `1.32.0`; anything of another major version is unknown.
fn minor(version: &str) -> Option<u32> {
    let mut parts = version.split('.');
    (parts.next()? == "1").then(|| parts.next()?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::minor;

    #[test]
    fn reads_the_minor_version() {
        assert_eq!(minor("1.32.0"), Some(32));
        assert_eq!(minor("1.9.0-dev"), Some(9));
        assert_eq!(minor("2.0.0"), None);
        assert_eq!(minor("nonsense"), None);
    }
}
