//! Enumerations that configurations write as words.

/// Declares an enum, each variant with the word that stands for it in a scheduler_config.json, in
/// `NAMES`; reading from JSON takes these words only.
macro_rules! words {
    ($(#[$meta:meta])* pub enum $name:ident {
        $($(#[$vmeta:meta])* $variant:ident = $word:literal,)+
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$vmeta])* $variant,)+ }

        impl $name {
            /// The words of a configuration.
            pub const NAMES: &'static [(&'static str, $name)] = &[$(($word, $name::$variant),)+];

            /// Its word.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }
        }

        impl crate::solver::config::FromKey for $name {
            fn expected() -> String {
                let words: Vec<_> = $name::NAMES.iter().map(|(name, _)| *name).collect();
                format!("one of {}", words.join(", "))
            }

            fn from_key(value: &serde_json::Value) -> Option<$name> {
                let word = value.as_str()?;
                $name::NAMES.iter().find(|(name, _)| *name == word).map(|(_, value)| *value)
            }
        }
    };
}
pub(super) use words;
