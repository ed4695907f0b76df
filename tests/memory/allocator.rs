//! An allocator that looks into every block before it gives it back, and counts the secrets it finds there.

// The trait wants it, and this file alone has it.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::{Found, KINDS, secret_at};

#[global_allocator]
static WATCHING: Watching = Watching;

static ON: AtomicBool = AtomicBool::new(false);
static BLOCKS: AtomicU64 = AtomicU64::new(0);
static KIND: [AtomicU64; KINDS.len()] = [const { AtomicU64::new(0) }; KINDS.len()];
static TEXT: [AtomicU64; 64] = [const { AtomicU64::new(0) }; 64];
static OCTETS: [AtomicU64; 64] = [const { AtomicU64::new(0) }; 64];
/// Where from, for whoever has to find it: kept only if asked for.
static TRACED: AtomicBool = AtomicBool::new(false);
static TRACES: Mutex<Vec<String>> = Mutex::new(Vec::new());

thread_local! {
    static LOOKING: Cell<bool> = const { Cell::new(false) };
}

struct Watching;

// SAFETY: every call is handed on to the system's allocator as it came. `realloc` is not: the default one takes a new
// block, copies, and gives the old one back, so that what growing leaves behind is looked into as well.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of this very function. Zeroed, so that what is found was written by
        // whoever has the block now.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if ON.load(Ordering::Relaxed) {
            // SAFETY: the block is of this size, initialised by `alloc`, and until it is given back nobody else's.
            look(unsafe { std::slice::from_raw_parts(block, layout.size()) });
        }
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

fn look(block: &[u8]) {
    BLOCKS.fetch_add(1, Ordering::Relaxed);
    for at in 0..block.len() {
        if !matches!(block[at], b'g' | 0x91 | 0x81) {
            continue;
        }
        let Some(found) = secret_at(&block[at..]) else {
            continue;
        };
        let counter = match found {
            Found::Kind(kind) => &KIND[kind],
            Found::Text(number) => &TEXT[number % 64],
            Found::Octets(number) => &OCTETS[number % 64],
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if TRACED.load(Ordering::Relaxed) && !LOOKING.replace(true) {
            let trace = std::backtrace::Backtrace::force_capture();
            let text = format!("{found:?} at {at} of {}:\n{trace}", block.len());
            TRACES.lock().unwrap().push(text);
            LOOKING.set(false);
        }
    }
}

pub(crate) fn watch(traced: bool) {
    TRACED.store(traced, Ordering::SeqCst);
    ON.store(true, Ordering::SeqCst);
}

/// What was found so far, one line each: the kind, and how often.
pub(crate) fn report() -> Vec<(String, u64)> {
    ON.store(false, Ordering::SeqCst);
    let mut lines = vec![("blocks".to_owned(), BLOCKS.load(Ordering::SeqCst))];
    let counts = |counters: &[AtomicU64]| -> Vec<u64> {
        counters
            .iter()
            .map(|counter| counter.load(Ordering::SeqCst))
            .collect()
    };
    lines.extend(KINDS.iter().map(ToString::to_string).zip(counts(&KIND)));
    lines.extend((0..64).map(|n| format!("text {n}")).zip(counts(&TEXT)));
    lines.extend((0..64).map(|n| format!("octets {n}")).zip(counts(&OCTETS)));
    lines.retain(|(_, count)| *count > 0);
    for trace in TRACES.lock().unwrap().drain(..) {
        println!("{trace}");
    }
    lines
}
