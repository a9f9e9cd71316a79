//! Reused memory: activations and gradients live in buffers that go back to a pool when they are
//! dropped, because fresh pages cost more than the arithmetic done on them.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// A store of freed buffers.
#[derive(Debug, Clone, Default)]
pub struct Pool {
    free: Arc<Mutex<Vec<Vec<f32>>>>,
}

impl Pool {
    /// An empty pool.
    pub fn new() -> Self {
        Self::default()
    }

    /// A buffer of `len` elements whose contents are arbitrary (finite or not).
    pub fn take(&self, len: usize) -> Buffer {
        let mut data = {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            let best = (0..free.len())
                .filter(|&index| free[index].capacity() >= len && free[index].capacity() <= 2 * len)
                .min_by_key(|&index| free[index].capacity());
            match best {
                Some(index) => free.swap_remove(index),
                None => {
                    // Nothing fits: the largest smaller one gives way, so that batches of
                    // growing size do not pile up buffers of every size.
                    let smaller = (0..free.len())
                        .filter(|&index| free[index].capacity() < len)
                        .max_by_key(|&index| free[index].capacity());
                    if let Some(index) = smaller
                        && free[index].capacity() * 2 > len
                    {
                        drop(free.swap_remove(index));
                    }
                    Vec::new()
                }
            }
        };
        if data.capacity() < len {
            data = vec![0.0; len];
        }
        data.resize(len, 0.0);
        Buffer { data, home: self.clone() }
    }

    /// A buffer of zeros.
    pub fn zeros(&self, len: usize) -> Buffer {
        let mut buffer = self.take(len);
        buffer.fill(0.0);
        buffer
    }

    /// Frees everything that is not in use.
    pub fn clear(&self) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// A slice of floats that returns to its [`Pool`] when dropped.
#[derive(Debug)]
pub struct Buffer {
    data: Vec<f32>,
    home: Pool,
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.data
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let data = std::mem::take(&mut self.data);
        self.home.free.lock().unwrap_or_else(PoisonError::into_inner).push(data);
    }
}

/// A contiguous row-major matrix whose buffer may be shared and kept without copying.
#[derive(Debug, Clone)]
pub struct Matrix {
    buffer: Arc<Buffer>,
    offset: usize,
    rows: usize,
    columns: usize,
}

impl Matrix {
    /// A matrix over a whole buffer.
    ///
    /// # Panics
    /// When the buffer does not hold `rows × columns` elements.
    pub fn new(buffer: Buffer, rows: usize, columns: usize) -> Self {
        assert_eq!(buffer.len(), rows * columns, "a matrix fills its buffer");
        Self { buffer: Arc::new(buffer), offset: 0, rows, columns }
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The elements, row after row.
    pub fn as_slice(&self) -> &[f32] {
        &self.buffer[self.offset..self.offset + self.rows * self.columns]
    }

    /// The elements, to be changed, if nobody else holds the buffer.
    pub fn as_mut_slice(&mut self) -> Option<&mut [f32]> {
        let range = self.offset..self.offset + self.rows * self.columns;
        Arc::get_mut(&mut self.buffer).map(|buffer| &mut buffer[range])
    }

    /// Rows `first..first + count`, sharing the buffer.
    ///
    /// # Panics
    /// When they go beyond the matrix.
    pub fn view_rows(&self, first: usize, count: usize) -> Self {
        assert!(first + count <= self.rows, "rows within the matrix");
        Self {
            buffer: Arc::clone(&self.buffer),
            offset: self.offset + first * self.columns,
            rows: count,
            columns: self.columns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(pool: &Pool) -> usize {
        pool.free.lock().unwrap().iter().map(Vec::capacity).sum()
    }

    #[test]
    fn a_dropped_buffer_is_the_next_one_taken() {
        let pool = Pool::new();
        let first = pool.take(1000);
        let address = first.as_ptr();
        drop(first);
        let second = pool.take(600);
        assert_eq!((second.as_ptr(), second.len()), (address, 600));
        drop(second);
        assert_eq!(pool.zeros(1000).iter().sum::<f32>(), 0.0);
    }

    #[test]
    fn growing_batches_do_not_pile_up_memory() {
        let pool = Pool::new();
        for len in (1000..10_000).step_by(7) {
            let (a, b) = (pool.take(len), pool.take(2 * len));
            drop((a, b));
        }
        assert!(kept(&pool) < 6 * 10_000, "{} numbers are kept", kept(&pool));
        pool.clear();
        assert_eq!(kept(&pool), 0);
    }

    #[test]
    fn a_matrix_can_be_changed_by_its_only_holder() {
        let pool = Pool::new();
        let mut matrix = Matrix::new(pool.zeros(6), 3, 2);
        matrix.as_mut_slice().unwrap()[3] = 5.0;
        let row = matrix.view_rows(1, 1);
        assert_eq!(row.as_slice(), [0.0, 5.0]);
        assert!(matrix.as_mut_slice().is_none());
        drop(matrix);
        assert_eq!(kept(&pool), 0, "the view holds the buffer");
        drop(row);
        assert_eq!(kept(&pool), 6);
    }
}
