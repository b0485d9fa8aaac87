//! Where items lie that were pulled together, until the last of them is dropped: to copy each to where it is handed out
//! would cost more than all else.

use crate::sys::lyq_msg;
use std::alloc::{alloc, dealloc, handle_alloc_error, Layout};
use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::atomic::{fence, AtomicUsize, Ordering::*};

/// Room for items, which follow it in memory.
#[repr(C)]
struct Header {
    /// How many own a place, or the shelf.
    users: AtomicUsize,
    room: usize,
}

/// A shelf, to put items on. It has one owner, whom it outlives if some of its places are taken.
pub(crate) struct Shelf {
    place: Place,
}

/// A share of a shelf. Whoever has one may use the item in its place, and nobody else does.
pub(crate) struct Place {
    header: NonNull<Header>,
}

// SAFETY: users are counted atomically, and the shelf itself may be freed by any thread.
unsafe impl Send for Place {}
// SAFETY: by reference it does nothing.
unsafe impl Sync for Place {}

impl Shelf {
    pub fn new(room: usize) -> Self {
        let layout = layout(room);
        // SAFETY: the layout is not empty.
        let Some(header) = NonNull::new(unsafe { alloc(layout) }.cast::<Header>()) else { handle_alloc_error(layout) };
        // SAFETY: it has just been allocated, with that layout.
        unsafe { header.write(Header { users: AtomicUsize::new(1), room }) };
        Self { place: Place { header } }
    }

    /// Whether all places are free.
    pub fn is_free(&self) -> bool {
        self.users().load(Acquire) == 1
    }

    /// The first place.
    pub fn items(&self) -> NonNull<lyq_msg> {
        // SAFETY: the items follow the header, which ends where one may begin.
        unsafe { self.place.header.add(1) }.cast()
    }

    /// Counts the places up to `n` as taken; each is to be claimed once. All have to be free.
    pub fn take(&self, n: usize) {
        self.users().store(1 + n, Relaxed); // whoever gets an item does so behind this
    }

    /// A place that was taken.
    ///
    /// # Safety
    /// It is claimed once.
    #[inline]
    pub unsafe fn claim(&self) -> Place {
        Place { header: self.place.header }
    }

    /// One for several places that were taken.
    ///
    /// # Safety
    /// They are claimed once.
    pub unsafe fn claim_all(&self, n: usize) -> Place {
        self.users().fetch_sub(n - 1, Relaxed);
        Place { header: self.place.header }
    }

    fn users(&self) -> &AtomicUsize {
        // SAFETY: the header lives as long as somebody counts in it.
        unsafe { &self.place.header.as_ref().users }
    }
}

impl Place {
    /// An even address, from which it is made again.
    #[inline]
    pub fn into_raw(self) -> NonNull<c_void> {
        ManuallyDrop::new(self).header.cast()
    }

    /// # Safety
    /// It comes from `into_raw`, and from each one is made.
    #[inline]
    pub unsafe fn from_raw(raw: NonNull<c_void>) -> Self {
        Self { header: raw.cast() }
    }
}

impl Drop for Place {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the header lives as long as somebody counts in it, as this does.
        let users = unsafe { &self.header.as_ref().users };
        if users.fetch_sub(1, Release) == 1 {
            free(self.header);
        }
    }
}

#[cold]
fn free(header: NonNull<Header>) {
    fence(Acquire); // behind what others did with their items
                    // SAFETY: it was allocated with this layout, and nobody counts in it any more.
    unsafe { dealloc(header.as_ptr().cast(), layout(header.as_ref().room)) };
}

fn layout(room: usize) -> Layout {
    const { assert!(size_of::<Header>() % align_of::<lyq_msg>() == 0) };
    let items = Layout::array::<lyq_msg>(room).expect("it is small");
    Layout::new::<Header>().extend(items).expect("it is small").0
}
