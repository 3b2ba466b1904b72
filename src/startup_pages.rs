//! What starting needed of the program's files, given back.
//!
//! Starting reads widely in two hundred libraries: their tables of names, the code that builds sessions and pipelines.
//! The kernel maps large pieces of a file around each touch and leaves them mapped for as long as it has room, so that most
//! of what is resident by then is what nobody touches again. Here it is told so: these pages are the first that it
//! may drop from its cache, and what is touched from here on is mapped again, from there, at a microsecond a piece.
//!
//! The unsafe code rests on this: a segment that its file's header does not allow to be written holds the file's bytes and
//! nothing else, so nothing is lost when its mapping is emptied. What the loader relocates lies in writable segments,
//! also where it is protected afterwards; files whose text is relocated say so and are left alone. While the loader calls
//! back, it lets no library go.

use std::ffi::{CStr, c_int, c_void};
use std::ptr::null_mut;
use std::slice;

use libc::{dl_iterate_phdr, dl_phdr_info, madvise, size_t, sysconf};

/// Of a library's dynamic section: the end, a flag of its own for relocated text, and the flags where it is one of many.
const DT_NULL: usize = 0;
const DT_TEXTREL: usize = 22;
const DT_FLAGS: usize = 30;
const DF_TEXTREL: usize = 4;

pub fn give_back() {
    // SAFETY: `of_library` takes what the loader hands it, and no data of ours.
    unsafe { dl_iterate_phdr(Some(of_library), null_mut()) };
}

/// Of the program itself, too: the loader has it in its list.
unsafe extern "C" fn of_library(info: *mut dl_phdr_info, _size: size_t, _data: *mut c_void) -> c_int {
    // SAFETY: the loader's own record of a library that is there until this returns, its headers and its name in it.
    let (start, headers, name) = unsafe {
        let info = &*info;
        let headers = slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum));
        (info.dlpi_addr as usize, headers, CStr::from_ptr(info.dlpi_name))
    };
    // The program's name is empty here. What else has no path is the kernel's and lies in no file.
    if !(name.is_empty() || name.to_bytes().contains(&b'/')) {
        return 0;
    }
    let dynamic = headers.iter().find(|header| header.p_type == libc::PT_DYNAMIC);
    // SAFETY: the loader has read this section already; it ends with `DT_NULL`.
    if dynamic
        .is_some_and(|header| unsafe { text_is_relocated((start + header.p_vaddr as usize) as *const [usize; 2]) })
    {
        return 0;
    }
    // SAFETY: no memory is touched.
    let page_bytes = unsafe { sysconf(libc::_SC_PAGESIZE) } as usize;
    for header in headers.iter().filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0) {
        let begins = start + header.p_vaddr as usize;
        let page = begins - begins % page_bytes;
        for advice in [libc::MADV_COLD, libc::MADV_DONTNEED] {
            // SAFETY: a segment of a loaded library, by its own header, of which no byte differs from the file. A kernel
            // that does not know the advice refuses it, and all stays as it was.
            unsafe { madvise(page as *mut c_void, begins + header.p_memsz as usize - page, advice) };
        }
    }
    0
}

/// # Safety
/// A dynamic section: pairs of a tag and a value up to `DT_NULL`.
unsafe fn text_is_relocated(section: *const [usize; 2]) -> bool {
    // SAFETY: none is read behind the end, which is there.
    let mut entries = (0..).map(|index| unsafe { *section.add(index) }).take_while(|[tag, _]| *tag != DT_NULL);
    entries.any(|[tag, value]| tag == DT_TEXTREL || (tag == DT_FLAGS && value & DF_TEXTREL != 0))
}
