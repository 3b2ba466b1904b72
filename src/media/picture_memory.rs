//! Memory for decoded pictures, of which a copy costs nothing until one of the two is written to.
//!
//! A decoder goes on reading a picture that it has handed out, to predict the next ones from, and keeps it mapped
//! meanwhile as if it would still write to it. GStreamer therefore copies each such picture on its way out: three
//! megabytes a picture at 1080p, wanted or not. Here the copy shares the bytes, and who starts to write while
//! they are shared gets bytes of its own.
//!
//! What the unsafe code rests on:
//! - `Shared` is what GStreamer takes for a `GstMemory`: its first field is one, in C's layout, and only `of` below
//!   makes one, so each pointer that GStreamer hands to these functions points to a whole `Shared`.
//! - GStreamer calls `free` once, when nobody refers to the memory any more, and no other function after it. All
//!   other functions only borrow, and change nothing but what stands behind the lock.
//! - The bytes live as long as any `Shared` that refers to them, and a mapped `Shared` keeps its bytes until it is
//!   unmapped. So a mapped pointer is valid.
//! - Bytes that are not yet mapped for writing are written to only where nobody shares them. What is mapped for
//!   writing while it is copied may be written to afterwards: a decoder hands a picture out when it is complete.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::{NonNull, addr_of_mut, copy_nonoverlapping, null_mut};
use std::sync::Arc;

use gst::prelude::*;
use gst::subclass::prelude::*;
use gst::{ffi, glib};
use parking_lot::Mutex;

glib::wrapper! {
    pub struct PictureAllocator(ObjectSubclass<Allocator>) @extends gst::Allocator, gst::Object;
}

impl Default for PictureAllocator {
    fn default() -> Self {
        glib::Object::new()
    }
}

#[derive(Default)]
pub struct Allocator;

#[repr(C)]
struct Shared {
    header: ffi::GstMemory,
    held: Mutex<Held>,
}

struct Held {
    bytes: Arc<Bytes>,
    maps: usize,
}

struct Bytes {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: a block of bytes belongs to no thread; who may read and write it is agreed on behind the lock.
unsafe impl Send for Bytes {}
unsafe impl Sync for Bytes {}

impl Bytes {
    /// `None` where memory is short. Fresh memory is zero, which costs nothing at this size.
    fn new(layout: Layout) -> Option<Self> {
        if layout.size() == 0 {
            return None;
        }
        // SAFETY: the layout is not empty.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(Self { start, layout })
    }

    fn duplicate(&self) -> Option<Self> {
        let copy = Self::new(self.layout)?;
        // SAFETY: both blocks have this layout, and the new one is nobody else's.
        unsafe { copy_nonoverlapping(self.start.as_ptr(), copy.start.as_ptr(), self.layout.size()) };
        Some(copy)
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and only here given back.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

impl Shared {
    /// What GStreamer owns from now on: `size` bytes from `offset` on.
    fn of(bytes: Arc<Bytes>, allocator: *mut ffi::GstAllocator, offset: usize, size: usize) -> *mut ffi::GstMemory {
        let (maxsize, align) = (bytes.layout.size(), bytes.layout.align() - 1);
        let mut shared = Box::<Self>::new_uninit();
        let memory = shared.as_mut_ptr();
        // SAFETY: both fields are written, the header by GStreamer, before anybody reads them.
        unsafe {
            addr_of_mut!((*memory).held).write(Mutex::new(Held { bytes, maps: 0 }));
            let header = addr_of_mut!((*memory).header);
            // Parts of it would have to share later writes, so GStreamer shall copy instead, which is as cheap.
            ffi::gst_memory_init(
                header,
                ffi::GST_MEMORY_FLAG_NO_SHARE,
                allocator,
                null_mut(),
                maxsize,
                align,
                offset,
                size,
            );
            Box::into_raw(shared.assume_init()).cast()
        }
    }
}

impl ObjectImpl for Allocator {}
impl GstObjectImpl for Allocator {}

// SAFETY: `alloc` gives what the other functions expect, `free` takes it back whole.
unsafe impl AllocatorImpl for Allocator {
    unsafe fn alloc(&self, size: usize, params: &gst::AllocationParams) -> *mut ffi::GstMemory {
        let whole = size.checked_add(params.prefix()).and_then(|sum| sum.checked_add(params.padding()));
        let align = (params.align() | gst::Memory::default_alignment()).checked_add(1);
        let layout = whole.zip(align).and_then(|(size, align)| Layout::from_size_align(size, align).ok());
        let Some(bytes) = layout.and_then(Bytes::new) else { return null_mut() };
        Shared::of(Arc::new(bytes), self.obj().as_ptr().cast(), params.prefix(), size)
    }

    unsafe fn free(&self, memory: *mut ffi::GstMemory) {
        // SAFETY: made by `Shared::of`, and GStreamer's last use of it.
        drop(unsafe { Box::from_raw(memory.cast::<Shared>()) });
    }
}

#[glib::object_subclass]
impl ObjectSubclass for Allocator {
    const NAME: &'static str = "FaceEdgePictureAllocator";
    type Type = PictureAllocator;
    type ParentType = gst::Allocator;

    fn instance_init(object: &glib::subclass::InitializingObject<Self>) {
        let allocator: *mut ffi::GstAllocator = object.as_ptr().cast();
        // SAFETY: the object is one of a subclass of GstAllocator, and nobody else has it yet.
        unsafe {
            (*allocator).mem_type = c"FaceEdgePicture".as_ptr();
            (*allocator).mem_map = Some(map);
            (*allocator).mem_unmap = Some(unmap);
            (*allocator).mem_copy = Some(copy);
        }
    }
}

/// Null, which GStreamer reports as a failure, where memory is short.
unsafe extern "C" fn map(memory: *mut ffi::GstMemory, _maxsize: usize, flags: ffi::GstMapFlags) -> glib::ffi::gpointer {
    // SAFETY: made by `Shared::of`.
    let mut held = unsafe { &*memory.cast::<Shared>() }.held.lock();
    let writes = flags & ffi::GST_MAP_WRITE != 0;
    if writes && held.maps == 0 && Arc::strong_count(&held.bytes) > 1 {
        let Some(own) = held.bytes.duplicate() else { return null_mut() };
        held.bytes = Arc::new(own);
    }
    held.maps += 1;
    held.bytes.start.as_ptr().cast()
}

unsafe extern "C" fn unmap(memory: *mut ffi::GstMemory) {
    // SAFETY: made by `Shared::of`.
    unsafe { &*memory.cast::<Shared>() }.held.lock().maps -= 1;
}

/// `size` is -1 for all from `offset` on.
unsafe extern "C" fn copy(memory: *mut ffi::GstMemory, offset: isize, size: isize) -> *mut ffi::GstMemory {
    // SAFETY: made by `Shared::of`; GStreamer changes the header's numbers only while it alone refers to the memory.
    let (shared, header) = unsafe { (&*memory.cast::<Shared>(), &*memory) };
    let Some(start) = header.offset.checked_add_signed(offset).filter(|&start| start <= header.maxsize) else {
        return null_mut();
    };
    let size = usize::try_from(size).unwrap_or_else(|_| header.size.saturating_sub_signed(offset));
    let bytes = Arc::clone(&shared.held.lock().bytes);
    Shared::of(bytes, header.allocator, start, size.min(header.maxsize - start))
}

#[cfg(test)]
mod tests {
    use std::iter;
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    fn buffer(bytes: usize) -> gst::Buffer {
        crate::media::init().expect("GStreamer starts");
        let memory = PictureAllocator::default().alloc(bytes, None).expect("memory");
        let mut buffer = gst::Buffer::new();
        buffer.get_mut().expect("ours alone").append_memory(memory);
        buffer
    }

    fn start(buffer: &gst::BufferRef) -> *const u8 {
        buffer.map_readable().expect("readable").as_ptr()
    }

    #[test]
    fn a_copy_shares_the_bytes_until_one_side_writes() {
        let mut first = buffer(1000);
        first.get_mut().expect("ours alone").map_writable().expect("writable").fill(7);
        let mut second = first.copy();
        assert_eq!(start(&first), start(&second), "no byte was copied");
        second.get_mut().expect("ours alone").map_writable().expect("writable")[3] = 9;
        assert_ne!(start(&first), start(&second));
        assert!(first.map_readable().expect("readable").iter().all(|&byte| byte == 7));
        assert_eq!(second.map_readable().expect("readable")[2..5], [7, 9, 7]);
    }

    #[test]
    fn who_wrote_first_gets_bytes_of_its_own_for_the_next_picture() {
        let mut first = buffer(1000);
        let at = start(&first);
        let second = first.copy();
        first.get_mut().expect("ours alone").map_writable().expect("writable").fill(1);
        assert_eq!(start(&second), at, "the copy stays where it is");
        assert!(second.map_readable().expect("readable").iter().all(|&byte| byte == 0));
        drop(second);
        let at = start(&first);
        first.get_mut().expect("ours alone").map_writable().expect("writable").fill(2);
        assert_eq!(start(&first), at, "nobody shares it any more");
    }

    #[test]
    fn a_part_is_a_copy_of_that_part() {
        let mut whole = buffer(1000);
        for (at, byte) in whole.get_mut().expect("ours alone").map_writable().expect("writable").iter_mut().enumerate()
        {
            *byte = at as u8;
        }
        let part = whole.copy_region(gst::BufferCopyFlags::MEMORY, 100..110).expect("a part");
        assert_eq!(*part.map_readable().expect("readable"), [100, 101, 102, 103, 104, 105, 106, 107, 108, 109]);
        let of_part = part.copy_region(gst::BufferCopyFlags::MEMORY, 5..).expect("a part");
        drop((whole, part));
        assert_eq!(*of_part.map_readable().expect("readable"), [105, 106, 107, 108, 109]);
    }

    #[test]
    fn aligned_as_asked_with_room_before_and_behind() {
        crate::media::init().expect("GStreamer starts");
        let params = gst::AllocationParams::new(gst::MemoryFlags::empty(), 63, 64, 32);
        let memory = PictureAllocator::default().alloc(500, Some(&params)).expect("memory");
        assert_eq!((memory.size(), memory.offset(), memory.maxsize()), (500, 64, 596));
        assert_eq!(memory.map_readable().expect("readable").as_ptr() as usize % 64, 0);
    }

    /// Whether somebody else, such as the decoder, holds the same bytes.
    fn is_shared(buffer: &gst::BufferRef) -> bool {
        let memory = buffer.peek_memory(0);
        assert!(memory.allocator().is_some_and(|allocator| allocator.is::<PictureAllocator>()), "in other memory");
        // SAFETY: as for the functions above.
        let shared = unsafe { &*memory.as_ptr().cast::<Shared>() };
        Arc::strong_count(&shared.held.lock().bytes) > 1
    }

    #[test]
    fn a_picture_that_the_decoder_goes_on_reading_comes_out_without_a_copy() {
        const PICTURES: usize = 60;
        const PATIENCE: Duration = Duration::from_secs(30);
        crate::media::init().expect("GStreamer starts");
        // Pictures of which each next one is predicted.
        let text = format!(
            "videotestsrc num-buffers={PICTURES} ! video/x-raw,format=I420,width=320,height=240 ! openh264enc ! h264parse \
             ! avdec_h264 max-threads=1 ! appsink name=frames sync=false"
        );
        let pipeline = gst::parse::launch(&text).expect("a pipeline").downcast::<gst::Pipeline>().expect("a pipeline");
        let frames = pipeline.by_name("frames").expect("a sink");
        crate::media::link::answer_allocation(&frames);
        let sink = frames.downcast::<gst_app::AppSink>().expect("an appsink");
        let (seen, seen_there) = mpsc::sync_channel(PICTURES);
        // In the decoder's own thread: later it may have let go of what came out.
        let look = move |sink: &gst_app::AppSink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Error)?;
            let _ = seen.send(is_shared(sample.buffer().expect("a buffer")));
            Ok(gst::FlowSuccess::Ok)
        };
        sink.set_callbacks(gst_app::AppSinkCallbacks::builder().new_sample(look).build());
        pipeline.set_state(gst::State::Playing).expect("it plays");
        // The first ones leave before the decoder knows where to.
        let shared: Vec<bool> =
            iter::from_fn(|| seen_there.recv_timeout(PATIENCE).ok()).take(PICTURES).skip(10).collect();
        pipeline.set_state(gst::State::Null).expect("it stops");
        assert_eq!(shared, [true; PICTURES - 10]);
    }

    #[test]
    fn more_than_there_is_is_refused() {
        crate::media::init().expect("GStreamer starts");
        assert!(PictureAllocator::default().alloc(usize::MAX - 4, None).is_err());
        assert!(PictureAllocator::default().alloc(0, None).is_err());
    }
}
