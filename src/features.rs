//! Features of samples: the network of an [`Extractor`] run on a device, batch after batch.

use crate::backend::{Backend, Observer, RunInputs, Session};
use crate::error::{Error, Result};
use crate::model::Extractor;
use crate::program::{Forward, Program};
use crate::tensor::DType;

/// A network of features, ready on a device.
pub struct Features {
    session: Box<dyn Session>,
    device: String,
    name: String,
    /// `[C, H, W]` of a sample, and as the network reads it.
    shape: [usize; 3],
    input: [usize; 3],
    batch: usize,
    /// Features and logits of a sample.
    width: usize,
    inputs: RunInputs,
    output: Vec<f32>,
}

impl Features {
    /// Compiles the network of `extractor` for samples of `shape` `[C, H, W]`, `batch` at a time.
    /// It runs in f32, whatever the device prefers: a distance is no place to save bits.
    ///
    /// # Errors
    /// Samples that the network cannot read, a batch of none or of more elements than kernels
    /// count, and what the device says.
    pub fn compile(
        extractor: &Extractor,
        shape: [usize; 3],
        batch: usize,
        backend: &dyn Backend,
    ) -> Result<Features> {
        let input = extractor.input(shape)?;
        let graph = extractor.graph(input)?;
        let most = u32::MAX as usize / graph.largest();
        if batch == 0 || batch > most {
            return Err(Error::invalid(
                "--batch",
                format!("1 to {most} samples of this size at a time"),
                batch.to_string(),
                "choose another --batch",
            ));
        }
        let options = Forward { storage: DType::F32, batch, state: input, fuse: true };
        let program = Program::forward(&graph, &options);
        program.check_values()?;
        let session = backend.prepare(&program, &extractor.weights())?;
        Ok(Features {
            session,
            device: backend.device(),
            name: extractor.name.clone(),
            shape,
            input,
            batch,
            width: extractor.features() + extractor.classes(),
            inputs: RunInputs::default(),
            output: vec![0.0; program.output_len],
        })
    }

    /// Samples computed at once.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// `[C, H, W]` of a sample.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Features and then logits of each of up to [`Features::batch`] samples `[n, C, H, W]` of
    /// bytes. They depend on the sample alone, not on those beside it: a short batch is filled up.
    /// Their last bits depend on how large the batch is.
    ///
    /// # Errors
    /// A stop, a device that fails, or a network that leaves no finite numbers.
    pub fn of(&mut self, samples: &[u8], observer: &mut Observer) -> Result<Vec<f32>> {
        let numel = self.shape.iter().product::<usize>();
        let count = samples.len() / numel;
        debug_assert!(count > 0 && count <= self.batch && samples.len() == count * numel);
        self.inputs.images.clear();
        for i in 0..self.batch {
            let sample = &samples[i.min(count - 1) * numel..][..numel];
            self.read(sample);
        }
        self.session.run(&self.inputs, observer, &mut self.output)?;
        let rows = &self.output[..count * self.width];
        match rows.iter().find(|value| !value.is_finite()) {
            None => Ok(rows.to_vec()),
            Some(value) => Err(Error::device(
                self.device.clone(),
                format!("{} leaves {value} among the features", self.name),
                "try --device cpu, and look at the weights",
            )),
        }
    }

    /// Adds a sample to the images, in as many channels as the network reads.
    fn read(&mut self, sample: &[u8]) {
        let (has, reads, images) = (self.shape[0], self.input[0], &mut self.inputs.images);
        let values = sample.iter().map(|byte| f32::from(*byte));
        if has <= reads {
            (0..reads / has).for_each(|_| images.extend(values.clone()));
            return;
        }
        let pixels = sample.len() / has;
        let sum = |pixel| sample.iter().skip(pixel).step_by(pixels).map(|b| f32::from(*b)).sum();
        images.extend((0..pixels).map(|pixel| -> f32 { sum(pixel) }).map(|sum| sum / has as f32));
    }
}
