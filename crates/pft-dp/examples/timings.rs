//! Prints how long accounting and noise take: `cargo run --release -p pft-dp --example timings`.

use std::time::Instant;

use pft_dp::accounting::{Accountant, Phase, calibrate_noise_multiplier, pld};
use pft_dp::{Clipping, Ledger, LedgerHeader, Mechanism, ParameterShape, Plan, PrivateGradient};
use pft_dp::{RELEASE_DRAWS, Randomness, RunSecret};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let phase = Phase { sample_rate: 0.01, noise_multiplier: 1.1, steps: 10_000 };
    pld::epsilon(&[phase], 1e-5)?;
    let start = Instant::now();
    let epsilon = pld::epsilon(&[phase], 1e-5)?;
    println!("epsilon with bounds, 10,000 steps: {:?} ({:.6})", start.elapsed(), epsilon.epsilon);
    let start = Instant::now();
    let noise = calibrate_noise_multiplier(Accountant::Pld, &[], 0.01, 10_000, 3.0, 1e-5)?;
    println!("calibration, 10,000 steps: {:?} (σ {noise:.5})", start.elapsed());

    let secret = RunSecret::new(Randomness::FixedSeed(0))?;
    for noise_draws in [1, RELEASE_DRAWS] {
        let plan = Plan {
            declared_units: 1000,
            units_were_counted: false,
            phase: Phase { sample_rate: 0.01, noise_multiplier: 1.0, steps: 10 },
            delta: 1e-5,
            clipping: Clipping::default(),
            max_examples_per_unit: 1,
            noise_draws,
        };
        let mechanism = Mechanism::new(plan, false)?;
        let elements = 135_000_000;
        let shape = ParameterShape { name: "weight".into(), elements, shared: false };
        let mut gradient = PrivateGradient::<Vec<f32>>::new(&mechanism, vec![shape]);
        let folder = std::env::temp_dir().join(format!("pft-dp-timings-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let path = folder.join(format!("ledger-{noise_draws}"));
        let seed = Randomness::FixedSeed(0);
        let header = LedgerHeader::new(&mechanism, seed, secret.commitment(), Default::default());
        let receipt = Ledger::open(&path, &header)?.record(&mechanism, 0)?;
        let noise = mechanism.noise(&secret);
        let sum = gradient.take();
        let start = Instant::now();
        sum.privatize(&mechanism, &noise, &receipt);
        println!("noise for 135 M elements, {noise_draws} draws each: {:?}", start.elapsed());
        std::fs::remove_dir_all(&folder)?;
    }
    let units: Vec<String> = (0..100_000).map(|unit| unit.to_string()).collect();
    let plan = Plan {
        declared_units: 100_000,
        units_were_counted: false,
        phase: Phase { sample_rate: 0.001, noise_multiplier: 1.0, steps: 10 },
        delta: 1e-6,
        clipping: Clipping::default(),
        max_examples_per_unit: 1,
        noise_draws: 1,
    };
    let mut sampler = Mechanism::new(plan, false)?.sampler(&secret, &units)?;
    let start = Instant::now();
    let drawn: usize = (0..320).map(|step| sampler.sample(step).len()).sum();
    println!("sampling 100,000 units: {:?} a step ({drawn} drawn)", start.elapsed() / 320);
    Ok(())
}
