//! Where to train, and in what type of number.

use std::fmt;

use candle_core::DType;
use pft_stage::StageError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What training computes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Device {
    /// pft's own kernels on the CPU.
    #[default]
    Cpu,
    /// The code for GPUs on candle's CPU backend, for tests.
    CandleCpu,
    /// The NVIDIA GPU of that number.
    Cuda(usize),
}

/// The type that a device computes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32-bit floats.
    #[default]
    F32,
    /// bfloat16.
    Bf16,
}

impl Dtype {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl From<Dtype> for DType {
    fn from(dtype: Dtype) -> Self {
        match dtype {
            Dtype::F32 => Self::F32,
            Dtype::Bf16 => Self::BF16,
        }
    }
}

impl TryFrom<String> for Device {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "cpu" => Ok(Self::Cpu),
            "candle-cpu" => Ok(Self::CandleCpu),
            "cuda" => Ok(Self::Cuda(0)),
            other => other
                .strip_prefix("cuda:")
                .and_then(|number| number.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| format!("device: {other:?} is none of cpu, cuda and cuda:NUMBER")),
        }
    }
}

impl From<Device> for String {
    fn from(device: Device) -> Self {
        device.to_string()
    }
}

impl fmt::Display for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => formatter.write_str("cpu"),
            Self::CandleCpu => formatter.write_str("candle-cpu"),
            Self::Cuda(0) => formatter.write_str("cuda"),
            Self::Cuda(number) => write!(formatter, "cuda:{number}"),
        }
    }
}

impl Device {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Refuses what this build cannot do.
    pub(crate) fn validate(self, dtype: Dtype) -> Result<(), StageError> {
        if matches!(self, Self::Cuda(_)) && !cfg!(feature = "cuda") {
            return Err(StageError::config(format!(
                "device: {self}: this build of train trains on the CPU alone"
            ))
            .with_help(
                "where CUDA's nvcc is installed, build it with \
                 `cargo build --release -p train --features cuda`; or set device: cpu",
            ));
        }
        if self == Self::Cpu && dtype != Dtype::F32 {
            return Err(StageError::config("dtype: the CPU trains in f32")
                .with_help("leave dtype out, or train on a GPU with device: cuda"));
        }
        Ok(())
    }

    /// Candle's device; none for pft's own kernels.
    pub(crate) fn open(self) -> Result<Option<candle_core::Device>, StageError> {
        match self {
            Self::Cpu => Ok(None),
            Self::CandleCpu => Ok(Some(candle_core::Device::Cpu)),
            Self::Cuda(number) => {
                candle_core::Device::new_cuda(number).map(Some).map_err(|error| {
                    StageError::config(format!("device: {self}: {error}")).with_help(
                        "`nvidia-smi` lists the GPUs and the driver's version; cuda is the \
                         first, cuda:1 the second",
                    )
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        let devices = [
            ("cpu", Device::Cpu),
            ("candle-cpu", Device::CandleCpu),
            ("cuda", Device::Cuda(0)),
            ("cuda:3", Device::Cuda(3)),
        ];
        for (name, device) in devices {
            assert_eq!(Device::try_from(name.to_owned()), Ok(device));
            assert_eq!(device.to_string(), name);
        }
        for wrong in ["gpu", "cuda:", "cuda:x", "CPU"] {
            let message = Device::try_from(wrong.to_owned()).unwrap_err();
            assert!(message.contains(wrong) && message.contains("cuda:NUMBER"), "{message}");
        }
    }

    #[test]
    fn settings_that_leave_the_cpu_alone_are_not_written() {
        let settings = serde_json::to_value(crate::Config::default()).unwrap();
        assert!(settings.get("device").is_none() && settings.get("dtype").is_none());
        let config = crate::Config { device: Device::CandleCpu, ..crate::Config::default() };
        assert_eq!(serde_json::to_value(config).unwrap()["device"], "candle-cpu");
    }

    #[test]
    fn what_the_build_cannot_do_is_refused_with_what_to_do() {
        assert!(Device::Cpu.validate(Dtype::Bf16).is_err());
        assert!(Device::CandleCpu.validate(Dtype::Bf16).is_ok());
        let refused = Device::Cuda(1).validate(Dtype::F32);
        if cfg!(feature = "cuda") {
            assert!(refused.is_ok());
        } else {
            let message = format!("{:?}", refused.unwrap_err());
            assert!(message.contains("cuda:1") && message.contains("--features cuda"), "{message}");
        }
    }
}
