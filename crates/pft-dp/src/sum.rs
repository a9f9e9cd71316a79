//! Sums that know their sensitivity, and the noise that only they can take.

use std::fmt;
use std::ops::Range;

use crate::ledger::StepReceipt;
use crate::mechanism::Mechanism;
use crate::noise::{GaussianNoise, TensorNoise};
use crate::tensor_sum::TensorSum;

/// A sum of clipped per-unit gradients. Adding or removing one unit moves it by at most
/// `l2_sensitivity`. Only [`PrivateGradient`](crate::PrivateGradient) and
/// [`DeviceGradient`](crate::DeviceGradient) make one, by clipping every unit.
#[derive(Debug)]
pub struct ClippedSum {
    pub(crate) tensors: Vec<TensorSum>,
    pub(crate) l2_sensitivity: f64,
}

impl ClippedSum {
    /// How far one unit can move the sum.
    pub fn l2_sensitivity(&self) -> f64 {
        self.l2_sensitivity
    }

    /// A copy of the sums before noise. Private: for tests and for all-reducing between ranks only.
    pub fn tensors(&self) -> Vec<Vec<f32>> {
        self.tensors.iter().map(TensorSum::to_vec).collect()
    }

    /// Adds another rank's or micro-batch's sum over other units.
    ///
    /// # Panics
    /// When the two are sums over different parameters or of different sensitivity.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.l2_sensitivity, other.l2_sensitivity, "sums of one mechanism");
        assert_eq!(self.tensors.len(), other.tensors.len(), "sums over the same parameters");
        for (into, from) in self.tensors.iter_mut().zip(&other.tensors) {
            assert_eq!(into.len(), from.len(), "sums over the same parameters");
            into.dense().iter_mut().zip(from.to_vec()).for_each(|(into, from)| *into += from);
        }
    }

    /// Adds the mechanism's noise and divides by its expected batch size. The receipt shows that
    /// the step is in the ledger already. Noise is drawn where the mean is read.
    ///
    /// # Panics
    /// When the sum's sensitivity is not the mechanism's.
    pub fn privatize(
        self,
        mechanism: &Mechanism,
        noise: &GaussianNoise,
        receipt: &StepReceipt,
    ) -> PrivateMean {
        assert!(
            self.l2_sensitivity <= mechanism.l2_sensitivity(),
            "a sum of sensitivity {} needs more noise than the mechanism's",
            self.l2_sensitivity
        );
        let deviation = mechanism.noise_deviation();
        let scale = 1.0 / mechanism.expected_batch_size();
        let step = receipt.step();
        let noised = |(index, sum): (usize, TensorSum)| {
            (sum, noise.of_tensor(step, index as u64, deviation, scale))
        };
        PrivateMean { tensors: self.tensors.into_iter().enumerate().map(noised).collect() }
    }
}

/// A noised gradient: whatever is computed from it is private. The sums within are never handed out
/// without their noise, which is always the same for the same element.
pub struct PrivateMean {
    tensors: Vec<(TensorSum, TensorNoise)>,
}

impl fmt::Debug for PrivateMean {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PrivateMean({} tensors)", self.tensors.len())
    }
}

impl PrivateMean {
    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        self.tensors.len()
    }

    /// Elements `range` of a parameter's gradient, drawn into `room`. Parameters are numbered in the
    /// order in which they were registered.
    ///
    /// # Panics
    /// When the range does not begin at a multiple of [`NOISE_CHUNK`](crate::NOISE_CHUNK), or there
    /// are no such elements.
    pub fn block<'a>(
        &self,
        parameter: usize,
        range: Range<usize>,
        room: &'a mut Vec<f32>,
    ) -> &'a [f32] {
        let (sum, noise) = &self.tensors[parameter];
        room.resize(range.len(), 0.0);
        sum.copy_to(range.clone(), room);
        noise.add(range.start, room);
        room
    }

    /// The whole gradient of a parameter.
    pub fn tensor(&self, parameter: usize) -> Vec<f32> {
        let (sum, noise) = &self.tensors[parameter];
        let mut values = sum.to_vec();
        noise.add_all(&mut values);
        values
    }

    /// The gradients of all parameters.
    pub fn into_tensors(self) -> Vec<Vec<f32>> {
        let noised = |(sum, noise): (TensorSum, TensorNoise)| {
            let mut values = sum.into_vec();
            noise.add_all(&mut values);
            values
        };
        self.tensors.into_iter().map(noised).collect()
    }

    /// The memory of the sums, to be used again.
    pub(crate) fn into_sums(self) -> impl ExactSizeIterator<Item = TensorSum> {
        self.tensors.into_iter().map(|(sum, _)| sum)
    }
}
