//! An allocator that counts, so that a test can say how much memory a call took.
//!
//! The tests of every crate of the workspace, and the fuzz targets, include this file by its path.

#![allow(dead_code, reason = "each crate uses a part of it")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

thread_local! {
    /// Bytes that this thread holds, and the most it held. Each test runs on a thread of its own.
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

fn count(bytes: isize) {
    let held = HELD.get() + bytes;
    HELD.set(held);
    PEAK.set(PEAK.get().max(held));
}

#[allow(unsafe_code, reason = "an allocator is unsafe by its trait")]
// SAFETY: every call is passed on to the system's allocator unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promise about `pointer` and `layout` is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Runs `work` and gives the most bytes that it held at once, above what was held before.
pub(crate) fn peak<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let start = HELD.get();
    PEAK.set(start);
    let value = work();
    (value, usize::try_from(PEAK.get() - start).unwrap_or(0))
}

/// Runs a decoder on input from a stranger: it may hold at most four times the input and 64 KiB.
pub(crate) fn bounded<T>(input: &[u8], work: impl FnOnce() -> T) -> T {
    let (value, peak) = peak(work);
    let bound = 4 * input.len() + (64 << 10);
    assert!(peak <= bound, "{peak} bytes were held for an input of {}", input.len());
    value
}
