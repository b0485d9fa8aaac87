use crate::error::{data, Result};
use crate::handle::Handle;
use crate::sys::{self, lyq_msg};
use crate::tag::Tag;
use std::ffi::c_void;
use std::fmt;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ops::Deref;
use std::ptr::NonNull;

/// A message that was received: its bytes, where they were received, aligned to 8, above 64 KiB to 64.
///
/// What was pulled from an [`Endpoint`](crate::Endpoint) or [`Inbox`](crate::Inbox) is a `Message<'static>`: it may be
/// kept, sent to other threads, and outlives endpoint and driver. Dropping it acknowledges it, together with everything
/// that came before it in its lane and was dropped as well; until then it takes part of the window, so that a program
/// that keeps many messages stops their sender. Dropping never waits, and may be done by a thread that ends.
///
/// What a callback is given lives until it returns, which acknowledges it; [`keep`](Self::keep) makes it one's own.
pub struct Message<'a> {
    raw: lyq_msg,
    /// The context of the callback that is shown it; `None` if it is released with this.
    shown: Option<NonNull<c_void>>,
    life: PhantomData<&'a [u8]>,
}

// SAFETY: what it points to is read only, by any thread, and may be released by any; the context is only compared.
unsafe impl Send for Message<'_> {}
// SAFETY: as above.
unsafe impl Sync for Message<'_> {}

impl<'a> Message<'a> {
    /// An item that was pulled.
    ///
    /// # Safety
    /// It came from `lyq_recv` or `lyq_retain`, and nobody else releases it.
    #[inline]
    pub(crate) unsafe fn owned(raw: lyq_msg) -> Self {
        Self { raw, shown: None, life: PhantomData }
    }

    /// An item that a callback with that context is shown.
    ///
    /// # Safety
    /// Its data lives for `'a`.
    #[inline]
    pub(crate) unsafe fn shown(raw: lyq_msg, ctx: NonNull<c_void>) -> Self {
        Self { raw, shown: Some(ctx), life: PhantomData }
    }

    #[inline]
    pub(crate) fn raw(&self) -> &lyq_msg {
        &self.raw
    }

    /// The endpoint that it came from, as it is named among events.
    #[inline]
    pub(crate) fn handle(&self) -> Handle {
        match self.shown {
            Some(ctx) if ctx.as_ptr() == self.raw.ctx => Handle::new(self.raw.ep), // no token was set
            _ => Handle::new(self.raw.ep).with_token(self.raw.ctx as usize),
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
        Tag::of(self.raw.tag)
    }

    /// The number that the sender's `send` returned: counted from 0 in each lane. With
    /// [`manual_ack`](crate::Options::manual_ack) the top 16 bits count the peer's restarts.
    #[inline]
    pub fn id(&self) -> u64 {
        self.raw.id
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

    /// Makes a message of a callback one's own. Long ones are not copied. It is acknowledged when the callback returns
    /// nevertheless, unless by hand.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn keep(self) -> Result<Message<'static>> {
        let mut kept = MaybeUninit::uninit();
        let this = ManuallyDrop::new(self);
        if this.shown.is_none() {
            // SAFETY: `this` will not release it.
            return Ok(unsafe { Message::owned(this.raw) });
        }
        // SAFETY: both may be read and written, and the data of `raw` lives still.
        data(unsafe { sys::lyq_retain(&this.raw, kept.as_mut_ptr()) })?;
        // SAFETY: lyq_retain has filled it, for lyq_release.
        Ok(unsafe { Message::owned(kept.assume_init()) })
    }
}

impl Deref for Message<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        if self.raw.size == 0 {
            return &[];
        }
        // SAFETY: the data has that size, is never written to, and lives until it is released: not before `self`.
        unsafe { std::slice::from_raw_parts(self.raw.data, self.raw.size) }
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
        if self.shown.is_none() {
            // SAFETY: it is released once, here.
            unsafe { sys::lyq_release(&self.raw, 1) };
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
