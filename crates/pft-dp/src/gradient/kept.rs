//! Per-unit gradients that are kept until the clipping factors are known.

use std::ops::DerefMut;

use rayon::prelude::*;

/// Where the memory of kept gradients comes from, and goes back to when a buffer is dropped. A
/// model's pool has room by then: activations are freed as the backward pass goes on.
pub trait Memory {
    /// A slice of floats.
    type Buffer: DerefMut<Target = [f32]> + Send + Sync + std::fmt::Debug;

    /// `len` floats of any value.
    fn take(&self, len: usize) -> Self::Buffer;
}

/// Memory from the allocator.
#[derive(Debug, Clone, Copy, Default)]
pub struct Heap;

impl Memory for Heap {
    type Buffer = Box<[f32]>;

    fn take(&self, len: usize) -> Self::Buffer {
        vec![0.0; len].into()
    }
}

/// The gradients of one parameter for each unit of a pass, where they are kept.
#[derive(Debug)]
pub(super) struct Kept<B> {
    /// `[units, elements]`; none where nothing is kept.
    pub(super) values: Option<B>,
    /// Squared norms as far as they are known, `[units]`.
    pub(super) norms: Vec<Option<f64>>,
}

impl<B: DerefMut<Target = [f32]>> Kept<B> {
    pub(super) fn new() -> Self {
        Self { values: None, norms: Vec::new() }
    }

    pub(super) fn clear(&mut self) {
        *self = Self { norms: std::mem::take(&mut self.norms), ..Self::new() };
        self.norms.clear();
    }

    /// Room for the units' gradients, made when first asked for in a pass: zeros that are added
    /// to, or values that will be overwritten.
    pub(super) fn ready<M: Memory<Buffer = B>>(
        &mut self,
        memory: &M,
        units: usize,
        elements: usize,
        zeroed: bool,
    ) -> (&mut [f32], &mut [Option<f64>]) {
        let values = self.values.get_or_insert_with(|| {
            self.norms.resize(units, None);
            let mut values = memory.take(units * elements);
            if zeroed {
                values.par_chunks_mut(1 << 16).for_each(|values| values.fill(0.0));
            }
            values
        });
        (values, &mut self.norms)
    }
}
