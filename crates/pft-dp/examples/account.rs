//! Accounts for a mechanism: ε of some steps by every accountant, the noise for a budget, and what two
//! runs on the same data spend together.
//!
//!     cargo run --release -p pft-dp --example account

use pft_dp::accounting::{Accountant, AccountingError, Phase, calibrate_noise_multiplier, pld};

fn main() -> Result<(), AccountingError> {
    let delta = 1e-6;
    let run = Phase { sample_rate: 0.01, noise_multiplier: 1.0, steps: 1000 };
    for accountant in Accountant::ALL {
        let epsilon = accountant.epsilon(&[run], delta)?;
        println!("{}: ε = {:.4} at δ = {delta:e}", accountant.as_str(), epsilon.epsilon);
    }

    // The least noise with which so many steps stay within ε = 1, with nothing spent before.
    let (q, steps) = (run.sample_rate, run.steps);
    let noise = calibrate_noise_multiplier(Accountant::Pld, &[], q, steps, 1.0, delta)?;
    println!("ε = 1 needs a noise multiplier of {noise:.4}");

    // Two runs on the same units compose. The sum of their ε would be too much, the larger too little.
    let again = Phase { noise_multiplier: noise, ..run };
    let both = pld::epsilon_upper(&[run, again], delta)?;
    println!("both runs together: ε ≤ {both:.4}");
    Ok(())
}
