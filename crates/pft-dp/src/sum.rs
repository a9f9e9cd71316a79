//! Sums that know their sensitivity, and the noise that only they can take.

use crate::ledger::StepReceipt;
use crate::mechanism::Mechanism;
use crate::noise::GaussianNoise;

/// A sum of clipped per-unit gradients. Adding or removing one unit moves it by at most
/// `l2_sensitivity`. Only [`PrivateGradient`](crate::PrivateGradient) and
/// [`DeviceGradient`](crate::DeviceGradient) make one, by clipping every unit.
#[derive(Debug)]
pub struct ClippedSum {
    pub(crate) tensors: Vec<Vec<f32>>,
    pub(crate) l2_sensitivity: f64,
}

impl ClippedSum {
    /// How far one unit can move the sum.
    pub fn l2_sensitivity(&self) -> f64 {
        self.l2_sensitivity
    }

    /// The sums before noise. Private: for tests and for all-reducing between ranks only.
    pub fn tensors(&self) -> &[Vec<f32>] {
        &self.tensors
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
            into.iter_mut().zip(from).for_each(|(into, from)| *into += from);
        }
    }

    /// Adds the mechanism's noise and divides by its expected batch size. The receipt shows that
    /// the step is in the ledger already.
    ///
    /// # Panics
    /// When the sum's sensitivity is not the mechanism's.
    pub fn privatize(
        mut self,
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
        for (index, tensor) in self.tensors.iter_mut().enumerate() {
            noise.add(receipt.step(), index as u64, deviation, scale, tensor);
        }
        PrivateMean { tensors: self.tensors }
    }
}

/// A noised gradient: whatever is computed from it is private.
#[derive(Debug)]
pub struct PrivateMean {
    pub(crate) tensors: Vec<Vec<f32>>,
}

impl PrivateMean {
    /// The gradient of each parameter, in the order in which they were registered.
    pub fn tensors(&self) -> &[Vec<f32>] {
        &self.tensors
    }
}
