//! Files in memory. When somebody shortens one while it is read, the system ends the process with SIGBUS; here the process
//! ends with an error that names the file.

use memmap2::Mmap;
use std::ffi::{CString, c_char, c_int, c_void};
use std::fs::File;
use std::ops::Deref;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// A mapping that may only be read, of a file or of the process's own memory.
pub struct MappedFile {
    map: Mmap,
    entry: Option<Entry>,
}

impl MappedFile {
    /// Maps an open file, which is called `path` in messages.
    ///
    /// # Errors
    /// The file cannot be mapped.
    pub fn open(file: &File, path: &Path) -> std::io::Result<MappedFile> {
        #[expect(
            unsafe_code,
            reason = "weights are mapped; a file written to by others during a run is undefined"
        )]
        // SAFETY: the mapping is read-only, and whoever reads it holds it.
        let map = unsafe { Mmap::map(file)? };
        let entry = Entry::new(&map, path);
        Ok(MappedFile { map, entry })
    }

    /// Memory of the process, which nobody shortens.
    pub(crate) fn anonymous(map: Mmap) -> MappedFile {
        MappedFile { map, entry: None }
    }

    /// Whether pages that are dropped can be read again.
    pub(crate) fn is_file(&self) -> bool {
        self.entry.is_some()
    }
}

impl Deref for MappedFile {
    type Target = Mmap;

    fn deref(&self) -> &Mmap {
        &self.map
    }
}

/// Mappings whose files can be named; later ones end the process without a name.
const SLOTS: usize = 1024;

/// What the signal handler knows of a mapping.
struct Slot {
    /// The first address; 0 where the slot is free, [`TAKEN`] where it is being filled.
    start: AtomicUsize,
    length: AtomicUsize,
    path: AtomicPtr<c_char>,
}

const TAKEN: usize = usize::MAX;

static TABLE: [Slot; SLOTS] = [const {
    Slot { start: AtomicUsize::new(0), length: AtomicUsize::new(0), path: AtomicPtr::new(ptr::null_mut()) }
}; SLOTS];

/// A mapping in [`TABLE`], until this goes.
struct Entry {
    slot: Option<&'static Slot>,
    /// What the slot points to.
    _path: CString,
}

impl Entry {
    fn new(map: &Mmap, path: &Path) -> Option<Entry> {
        install_handler();
        let path = CString::new(path.as_os_str().as_bytes()).ok()?;
        let is_free =
            |slot: &&Slot| slot.start.compare_exchange(0, TAKEN, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        let slot = TABLE.iter().find(is_free);
        if let Some(slot) = slot {
            slot.length.store(map.len(), Ordering::Relaxed);
            slot.path.store(path.as_ptr().cast_mut(), Ordering::Relaxed);
            slot.start.store(map.as_ptr() as usize, Ordering::Release);
        }
        Some(Entry { slot, _path: path })
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            slot.start.store(0, Ordering::Release);
        }
    }
}

/// What was done about the signal before.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

fn install_handler() {
    BEFORE.get_or_init(|| {
        #[expect(unsafe_code, reason = "signals are handled by way of C")]
        // SAFETY: both structures are valid for the calls, zero is a value of all their fields, and the handler does only
        // what a signal handler may.
        unsafe {
            let mut before: libc::sigaction = std::mem::zeroed();
            let mut ours: libc::sigaction = std::mem::zeroed();
            ours.sa_sigaction =
                on_bus_error as extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) as usize;
            ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigaction(libc::SIGBUS, &raw const ours, &raw mut before);
            before
        }
    });
}

/// Ends the process with a message if the address is in one of the mappings, else leaves it to who was there before.
#[expect(unsafe_code, reason = "a signal handler, which may call little more than the system")]
extern "C" fn on_bus_error(signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    // SAFETY: the system gives valid information. A mapping that is being read is in the table with its path, as who reads it
    // holds it. Only atomics, `write`, `sigaction` and `_exit` are used, which a handler may call.
    unsafe {
        let address = (*info).si_addr() as usize;
        let Some(path) = path_of(address) else {
            // The access is made again when this returns, and ends as it would have without us.
            let before = BEFORE.get().map_or(ptr::null(), ptr::from_ref);
            if before.is_null() {
                libc::signal(signal, libc::SIG_DFL);
            } else {
                libc::sigaction(signal, before, ptr::null_mut());
            }
            return;
        };
        let say = |text: &[u8]| libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len());
        say(b"error: `");
        libc::write(libc::STDERR_FILENO, path.cast(), libc::strlen(path));
        say(b"` was shortened while it was read\n  hint: run again when nobody writes to it\n");
        libc::_exit(1);
    }
}

fn path_of(address: usize) -> Option<*mut c_char> {
    let holds = |slot: &&Slot| {
        let start = slot.start.load(Ordering::Acquire);
        start != TAKEN
            && start != 0
            && (start..start + slot.length.load(Ordering::Relaxed)).contains(&address)
    };
    TABLE.iter().find(holds).map(|slot| slot.path.load(Ordering::Relaxed))
}
