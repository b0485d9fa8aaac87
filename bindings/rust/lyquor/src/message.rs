use crate::error::{data, Result};
use crate::handle::Handle;
use crate::shelf::{Place, Shelf};
use crate::sys::{self, lyq_msg};
use crate::tag::Tag;
use std::ffi::c_void;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::slice;

/// A message that was received: its bytes, where they were received, aligned to 8, above 64 KiB to 64.
///
/// What was pulled from an [`Endpoint`](crate::Endpoint) or [`Inbox`](crate::Inbox) is a `Message<'static>`: it may be
/// kept, sent to other threads, and outlives endpoint and driver. Dropping it acknowledges it, together with everything
/// that came before it in its lane and was dropped as well; until then it takes part of the window, so that a program
/// that keeps many messages stops their sender. Dropping never waits, and may be done by a thread that ends.
///
/// What a callback is given lives until it returns, which acknowledges it, and what a [`Batch`] shows lives as long as
/// that; [`keep`](Self::keep) makes it one's own.
pub struct Message<'a> {
    raw: NonNull<lyq_msg>,
    owner: Owner,
    life: PhantomData<&'a lyq_msg>,
}

/// Who releases a message: itself, which has a place then, or the callback with that context which shows it, or, with
/// none, the batch. It is one word, so that a message is two, which stay in registers.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Owner(NonNull<c_void>);

impl Owner {
    /// What places are at is even, and so are contexts.
    const SHOWN: usize = 1;

    #[inline]
    fn place(place: Place) -> Self {
        Self(place.into_raw())
    }

    #[inline]
    fn shown(ctx: *mut c_void) -> Self {
        debug_assert!(ctx as usize & Self::SHOWN == 0);
        // SAFETY: an odd address is not null.
        Self(unsafe { NonNull::new_unchecked(ctx.wrapping_byte_add(Self::SHOWN)) })
    }

    /// The message's place, if it has one.
    ///
    /// # Safety
    /// It is taken once.
    #[inline]
    unsafe fn take(self) -> Option<Place> {
        // SAFETY: it was a place's, and becomes one once.
        (self.0.as_ptr() as usize & Self::SHOWN == 0).then(|| unsafe { Place::from_raw(self.0) })
    }

    #[inline]
    fn is_shown(self, ctx: *mut c_void) -> bool {
        self.0 == Self::shown(ctx).0
    }
}

// SAFETY: what it points to is read only, by any thread, and may be released by any; the context is only compared.
unsafe impl Send for Message<'_> {}
// SAFETY: as above.
unsafe impl Sync for Message<'_> {}

impl<'a> Message<'a> {
    /// An item that was pulled or retained to a place.
    ///
    /// # Safety
    /// `raw` is in that place, and nobody else releases it.
    #[inline]
    pub(crate) unsafe fn owned(raw: NonNull<lyq_msg>, place: Place) -> Self {
        Self { raw, owner: Owner::place(place), life: PhantomData }
    }

    /// An item that is shown by a callback with that context, or, if it is null, by a batch.
    ///
    /// # Safety
    /// Its data lives for `'a`.
    #[inline]
    pub(crate) unsafe fn shown(raw: &'a lyq_msg, ctx: *mut c_void) -> Self {
        Self { raw: raw.into(), owner: Owner::shown(ctx), life: PhantomData }
    }

    #[inline]
    pub(crate) fn raw(&self) -> &lyq_msg {
        // SAFETY: the place is this message's, or the library's for `'a`.
        unsafe { self.raw.as_ref() }
    }

    /// The endpoint that it came from, as it is named among events.
    #[inline]
    pub(crate) fn handle(&self) -> Handle {
        let raw = self.raw();
        match raw.ctx {
            ctx if ctx as usize & Owner::SHOWN == 0 && self.owner.is_shown(ctx) => Handle::new(raw.ep), // has no token
            token => Handle::new(raw.ep).with_token(token as usize),
        }
    }

    /// The endpoint that it came from. What is sent there answers it, with its tag.
    #[inline]
    pub fn endpoint(&self) -> Handle {
        self.handle().tagged(self.tag())
    }

    /// Its lane and channel.
    #[inline]
    pub fn tag(&self) -> Tag {
        Tag::of(self.raw().tag)
    }

    /// The number that the sender's `send` returned: counted from 0 in each lane. With
    /// [`manual_ack`](crate::Options::manual_ack) the top 16 bits count the peer's restarts.
    #[inline]
    pub fn id(&self) -> u64 {
        self.raw().id
    }

    /// Says that the program is done with it, and gives its memory back.
    ///
    /// With [`manual_ack`](crate::Options::manual_ack) all messages of its lane up to this one are acknowledged;
    /// else it is what dropping it does.
    ///
    /// # Errors
    /// `Closed`, if with manual acknowledgement the endpoint has ended.
    pub fn ack(self) -> Result<()> {
        match self.endpoint().ack(self.id()) {
            // It does not acknowledge by hand: dropping does.
            Err(error) if error.code() == sys::LYQ_EINVAL => Ok(()),
            other => other,
        }
    }

    /// Makes a message of a callback or batch one's own. Long ones are not copied. It is acknowledged when the callback
    /// returns, or the batch is dropped, nevertheless, unless by hand.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn keep(self) -> Result<Message<'static>> {
        let this = ManuallyDrop::new(self);
        // SAFETY: `this` is forgotten, and its place with it.
        if let Some(place) = unsafe { this.owner.take() } {
            // SAFETY: as it was.
            return Ok(unsafe { Message::owned(this.raw, place) });
        }
        let shelf = Shelf::new(1);
        // SAFETY: both may be read and written, and the data of `raw` lives still.
        data(unsafe { sys::lyq_retain(this.raw.as_ptr(), shelf.items().as_ptr()) })?;
        shelf.take(1);
        // SAFETY: lyq_retain has filled the place, for lyq_release, and it is claimed once.
        Ok(unsafe { Message::owned(shelf.items(), shelf.claim()) })
    }
}

/// Messages that came one behind the other from one endpoint, up to 64: see [`Endpoint::batch`].
///
/// Dropping it acknowledges all of them, in one go, which costs much less than to drop each. It may be kept, sent to
/// other threads, and outlives endpoint and driver.
///
/// [`Endpoint::batch`]: crate::Endpoint::batch
pub struct Batch {
    items: NonNull<lyq_msg>,
    len: usize,
    _place: Place,
}

// SAFETY: as a message.
unsafe impl Send for Batch {}
// SAFETY: as a message.
unsafe impl Sync for Batch {}

impl Batch {
    /// Of items that were pulled to places of which this is one.
    ///
    /// # Safety
    /// There are so many, all messages, and nobody else releases them.
    pub(crate) unsafe fn new(items: NonNull<lyq_msg>, len: usize, place: Place) -> Self {
        Self { items, len, _place: place }
    }

    /// How many there are, at least one.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The messages in their order, as `for message in &batch` shows them.
    pub fn iter(&self) -> Shown<'_> {
        // SAFETY: so many are there, as long as this is.
        Shown { items: unsafe { slice::from_raw_parts(self.items.as_ptr(), self.len) }.iter() }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        // SAFETY: they are released once, here, before their places are given up.
        unsafe { sys::lyq_release(self.items.as_ptr(), self.len) };
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

/// The messages of a [`Batch`].
#[derive(Clone)]
pub struct Shown<'a> {
    items: slice::Iter<'a, lyq_msg>,
}

// SAFETY: as a message.
unsafe impl Send for Shown<'_> {}
// SAFETY: as a message.
unsafe impl Sync for Shown<'_> {}

impl<'a> Iterator for Shown<'a> {
    type Item = Message<'a>;

    #[inline]
    fn next(&mut self) -> Option<Message<'a>> {
        // SAFETY: the data lives as long as the batch.
        self.items.next().map(|raw| unsafe { Message::shown(raw, ptr::null_mut()) })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.items.size_hint()
    }
}

impl ExactSizeIterator for Shown<'_> {}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl<'a> IntoIterator for &'a Batch {
    type Item = Message<'a>;
    type IntoIter = Shown<'a>;

    fn into_iter(self) -> Shown<'a> {
        self.iter()
    }
}

impl Deref for Message<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        let raw = self.raw();
        if raw.size == 0 {
            return &[];
        }
        // SAFETY: the data has that size, is never written to, and lives until it is released: not before `self`.
        unsafe { std::slice::from_raw_parts(raw.data, raw.size) }
    }
}

impl AsRef<[u8]> for Message<'_> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// Without a copy: the message is acknowledged when the last of those that share it is dropped.
#[cfg(feature = "bytes")]
#[cfg_attr(docsrs, doc(cfg(feature = "bytes")))]
impl From<Message<'static>> for bytes::Bytes {
    fn from(message: Message<'static>) -> Self {
        bytes::Bytes::from_owner(message)
    }
}

impl Drop for Message<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: this is the end of it.
        if let Some(_place) = unsafe { self.owner.take() } {
            // SAFETY: it is released once, here, before its place is given up.
            unsafe { sys::lyq_release(self.raw.as_ptr(), 1) };
        }
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = &self[..self.len().min(16)];
        f.debug_struct("Message")
            .field("tag", &self.tag())
            .field("id", &self.id())
            .field("len", &self.len())
            .field("start", &format_args!("{}", start.escape_ascii()))
            .finish()
    }
}
