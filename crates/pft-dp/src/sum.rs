//! Sums that know their sensitivity, and the noise that only they can take.

use std::fmt;
use std::ops::Range;

use crate::clip_only::ClipOnly;
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
    ) -> StepMean {
        assert!(
            self.l2_sensitivity <= mechanism.l2_sensitivity(),
            "a sum of sensitivity {} needs more noise than the mechanism's",
            self.l2_sensitivity
        );
        let deviation = mechanism.noise_deviation();
        let scale = 1.0 / mechanism.expected_batch_size();
        let step = receipt.step();
        let noised = |(index, sum): (usize, TensorSum)| {
            (sum, Finish::Noise(Box::new(noise.of_tensor(step, index as u64, deviation, scale))))
        };
        StepMean { tensors: self.tensors.into_iter().enumerate().map(noised).collect() }
    }

    /// Divides by the expected batch size of a run without noise, and of nothing else: the mean is
    /// not private.
    pub fn without_noise(self, run: &ClipOnly) -> StepMean {
        let scale = 1.0 / run.expected_batch_size();
        let scaled = |sum| (sum, Finish::Scale(scale));
        StepMean { tensors: self.tensors.into_iter().map(scaled).collect() }
    }
}

/// What is done to a sum as it is read.
enum Finish {
    /// Noise is added, and the result scaled.
    Noise(Box<TensorNoise>),
    /// It is scaled.
    Scale(f64),
}

impl Finish {
    fn block(&self, first: usize, values: &mut [f32]) {
        match self {
            Self::Noise(noise) => noise.add(first, values),
            Self::Scale(scale) => scale_all(*scale, values),
        }
    }

    fn all(&self, values: &mut [f32]) {
        match self {
            Self::Noise(noise) => noise.add_all(values),
            Self::Scale(scale) => scale_all(*scale, values),
        }
    }
}

fn scale_all(scale: f64, values: &mut [f32]) {
    values.iter_mut().for_each(|value| *value = (f64::from(*value) * scale) as f32);
}

/// The mean gradient that an optimizer follows. From [`ClippedSum::privatize`], it is noised, and
/// whatever is computed from it is private: the sums within are never handed out without their noise,
/// which is always the same for the same element.
pub struct StepMean {
    tensors: Vec<(TensorSum, Finish)>,
}

impl fmt::Debug for StepMean {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "StepMean({} tensors)", self.tensors.len())
    }
}

impl StepMean {
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
        let (sum, finish) = &self.tensors[parameter];
        room.resize(range.len(), 0.0);
        sum.copy_to(range.clone(), room);
        finish.block(range.start, room);
        room
    }

    /// The whole gradient of a parameter.
    pub fn tensor(&self, parameter: usize) -> Vec<f32> {
        let (sum, finish) = &self.tensors[parameter];
        let mut values = sum.to_vec();
        finish.all(&mut values);
        values
    }

    /// The gradients of all parameters.
    pub fn into_tensors(self) -> Vec<Vec<f32>> {
        let finished = |(sum, finish): (TensorSum, Finish)| {
            let mut values = sum.into_vec();
            finish.all(&mut values);
            values
        };
        self.tensors.into_iter().map(finished).collect()
    }

    /// The memory of the sums, to be used again.
    pub(crate) fn into_sums(self) -> impl ExactSizeIterator<Item = TensorSum> {
        self.tensors.into_iter().map(|(sum, _)| sum)
    }
}
