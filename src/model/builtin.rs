//! The models that the program carries.

/// A model that needs no folder: its files, embedded.
pub(super) struct Builtin {
    pub name: &'static str,
    pub config: &'static str,
    pub scheduler: &'static str,
    pub settings: Option<&'static str>,
    /// None for a configuration only.
    pub weights: Option<&'static [u8]>,
}

impl std::fmt::Debug for Builtin {
    /// Only the name: the weights are megabytes.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Builtin({})", self.name)
    }
}

/// A model of the folder `models` with settings and weights.
macro_rules! trained {
    ($name:literal) => {
        Builtin {
            name: $name,
            config: include_str!(concat!("../../models/", $name, "/config.json")),
            scheduler: include_str!(concat!(
                "../../models/",
                $name,
                "/scheduler/scheduler_config.json"
            )),
            settings: Some(include_str!(concat!("../../models/", $name, "/unnoise.json"))),
            weights: Some(include_bytes!(concat!(
                "../../models/",
                $name,
                "/diffusion_pytorch_model.safetensors"
            ))),
        }
    };
}

/// All of them; the first is the default of the command line.
pub(super) const MODELS: &[Builtin] = &[
    trained!("digits"),
    trained!("digits-edm"),
    trained!("digits-ve"),
    trained!("digits-cm"),
    Builtin {
        name: "ddpm-cifar10",
        config: include_str!("../../models/ddpm-cifar10/config.json"),
        scheduler: include_str!("../../models/ddpm-cifar10/scheduler/scheduler_config.json"),
        settings: None,
        weights: None,
    },
    Builtin {
        name: "mixture",
        config: include_str!("../../models/mixture/config.json"),
        scheduler: include_str!("../../models/mixture/scheduler/scheduler_config.json"),
        settings: None,
        weights: None,
    },
];
