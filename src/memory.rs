//! Memory that is not in use any more, given back to the system.
//!
//! **What starting read.** Starting reads widely in two hundred libraries: their tables of names, the code that builds
//! sessions and pipelines. The kernel maps large pieces of a file around each touch and leaves them mapped for as long as it
//! has room, so that most of what is resident by then is what nobody touches again. Here it is told that these pages are not in
//! use. What is touched from here on is mapped again, out of the kernel's cache, or read again where that has dropped it.
//!
//! The unsafe code rests on this: `MADV_DONTNEED` loses what was written to a private mapping and nothing else. It is
//! given for segments that cannot be written, and of these only where the kernel says that each page which is there is
//! still the file's: relocated or patched text is left alone. While the loader calls back, it lets no library go.
//!
//! **What a camera freed.** glibc gives back what is free at the end of a heap, and keeps what lies between pieces in use.

use std::ffi::{c_int, c_void};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::ptr::with_exposed_provenance_mut;
use std::slice;

use libc::{dl_iterate_phdr, dl_phdr_info, madvise, malloc_trim, size_t, sysconf};

const PAGE_MAP: &str = "/proc/self/pagemap";
/// Of a page in there, from the kernel's Documentation/admin-guide/mm/pagemap.rst: it belongs to a file; it is
/// swapped out; it is there.
const OF_A_FILE: u64 = 1 << 61;
const SWAPPED: u64 = 1 << 62;
const PRESENT: u64 = 1 << 63;

/// When all parts have started.
pub fn give_back_startup_pages() {
    // Where it cannot be told what was written to, all stays.
    let Ok(mut page_map) = File::open(PAGE_MAP) else { return };
    // SAFETY: `of_library` takes what the loader hands it, and this file.
    unsafe { dl_iterate_phdr(Some(of_library), (&raw mut page_map).cast()) };
}

/// When a camera has gone. Takes one to three milliseconds.
pub fn give_back_freed() {
    // SAFETY: gives the system only pages in which nothing is allocated, and locks each heap for it.
    unsafe { malloc_trim(0) };
}

/// Of the program itself, too: the loader has it in its list.
unsafe extern "C" fn of_library(info: *mut dl_phdr_info, _size: size_t, page_map: *mut c_void) -> c_int {
    // SAFETY: the loader's own record of a library, with its headers, there until this returns; and the caller's file.
    let (start, headers, page_map) = unsafe {
        let info = &*info;
        let headers = slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum));
        (info.dlpi_addr as usize, headers, &*page_map.cast::<File>())
    };
    // SAFETY: no memory is touched.
    let page_bytes = unsafe { sysconf(libc::_SC_PAGESIZE) } as usize;
    for header in headers.iter().filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0) {
        let begins = start.wrapping_add(header.p_vaddr as usize);
        let page = begins - begins % page_bytes;
        let bytes = begins - page + header.p_memsz as usize;
        if !is_all_of_files(page_map, page / page_bytes..(page + bytes).div_ceil(page_bytes)) {
            continue;
        }
        // `MADV_COLD` first: else the kernel takes a page that was in use for one to keep.
        for advice in [libc::MADV_COLD, libc::MADV_DONTNEED] {
            // SAFETY: a segment of a loaded library, by its own header, of which each page is the file's. A kernel that
            // does not know the advice refuses it, and all stays as it was.
            unsafe { madvise(with_exposed_provenance_mut(page), bytes, advice) };
        }
    }
    0
}

/// None of these pages was ever written to. What cannot be told was. Nothing is allocated: the loader's lock is held, and
/// what watches allocations may want it.
fn is_all_of_files(page_map: &File, pages: Range<usize>) -> bool {
    const ENTRY_BYTES: usize = size_of::<u64>();
    const AT_ONCE: usize = 512;
    let is_of_a_file = |entry: u64| entry & SWAPPED == 0 && (entry & PRESENT == 0 || entry & OF_A_FILE != 0);
    let mut entries = [0; AT_ONCE * ENTRY_BYTES];
    pages.clone().step_by(AT_ONCE).all(|first| {
        let entries = &mut entries[..(pages.end - first).min(AT_ONCE) * ENTRY_BYTES];
        page_map.read_exact_at(entries, (first * ENTRY_BYTES) as u64).is_ok()
            && entries
                .chunks_exact(ENTRY_BYTES)
                .all(|entry| entry.try_into().is_ok_and(|bytes| is_of_a_file(u64::from_ne_bytes(bytes))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_of_files<T>(thing: *const T) -> bool {
        // SAFETY: no memory is touched.
        let page = thing.addr() / unsafe { sysconf(libc::_SC_PAGESIZE) } as usize;
        is_all_of_files(&File::open(PAGE_MAP).unwrap(), page..page + 1)
    }

    #[test]
    fn text_is_the_files_and_what_was_written_is_not() {
        static WRITTEN: parking_lot::Mutex<[u8; 8192]> = parking_lot::Mutex::new([1; 8192]);
        WRITTEN.lock().fill(2);
        assert!(is_of_files(give_back_startup_pages as *const u8));
        assert!(!is_of_files(&raw const WRITTEN));
        assert!(!is_of_files(vec![7_u8; 8192].as_ptr()));
        give_back_startup_pages();
        assert_eq!(*WRITTEN.lock(), [2; 8192]);
    }
}
