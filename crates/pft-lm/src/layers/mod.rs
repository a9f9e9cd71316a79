//! One layer a file, forward and backward beside each other.
//!
//! A backward takes the gradient of the loss by the layer's output, gives its
//! [`GradientSink`](crate::gradient::GradientSink) the pieces of the trainable parameters'
//! gradients, and returns the gradient by the layer's input, overwriting activations that are
//! no longer needed.

pub mod attention;
pub mod cross_entropy;
pub mod embedding;
pub mod gelu;
pub mod layer_norm;
pub mod linear;
pub mod lora;
pub mod norm;
#[cfg(test)]
mod oracle;
pub mod rms_norm;
pub mod rope;
pub mod swiglu;
