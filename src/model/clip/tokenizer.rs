//! From a prompt to tokens: byte pairs as CLIP has them (Sennrich et al. 2016, arXiv:1508.07909).

use crate::error::{Error, Result};
use std::path::Path;
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::{Lowercase, NFC, Replace, Sequence};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as Steps;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior};

/// A tokenizer with what begins, ends and fills up a text.
pub struct Tokenizer {
    words: tokenizers::Tokenizer,
    begin: u32,
    end: u32,
    fill: u32,
}

const BEGIN: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";
/// What CLIP takes for a word: English endings, letters, one digit, other signs.
const WORDS: &str = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

impl Tokenizer {
    /// Opens a folder with `tokenizer.json`, or with `vocab.json` and `merges.txt`.
    ///
    /// # Errors
    /// A file that is absent or not in the format, or a vocabulary without begin or end.
    pub fn open(folder: &Path) -> Result<Tokenizer> {
        let whole = folder.join("tokenizer.json");
        let mut words = match whole.is_file() {
            true => tokenizers::Tokenizer::from_file(&whole).map_err(|e| broken(&whole, &*e))?,
            false => pairs(folder)?,
        };
        // Length is for the text encoder to say.
        words.with_padding(None);
        words.with_truncation(None).map_err(|e| broken(&whole, &*e))?;
        let token = |text: &str| {
            words.token_to_id(text).ok_or_else(|| {
                let what = folder.display().to_string();
                let action = "use the tokenizer that the model was published with";
                Error::invalid(what, format!("the token {text}"), "none", action)
            })
        };
        let (begin, end) = (token(BEGIN)?, token(END)?);
        Ok(Tokenizer { begin, end, fill: fill(folder, &words)?.unwrap_or(end), words })
    }

    /// `length` tokens: begin, the words, as many as there is room for, end, and what fills up.
    pub fn tokens(&self, prompt: &str, length: usize) -> Result<Vec<u32>> {
        let encoding = self.words.encode_fast(prompt, false);
        let encoding = encoding.map_err(|e| {
            Error::invalid("--prompt", "a text", e.to_string(), "write it in other words")
        })?;
        let words = encoding.get_ids().iter().copied().take(length.saturating_sub(2));
        let mut tokens = vec![self.begin];
        tokens.extend(words);
        tokens.push(self.end);
        tokens.resize(length, self.fill);
        Ok(tokens)
    }
}

fn broken(path: &Path, e: &(dyn std::error::Error + Send + Sync)) -> Error {
    let what = path.display().to_string();
    Error::invalid(what, "a tokenizer's file", e.to_string(), "fetch the file again")
}

/// The tokenizer of the files that CLIP was published with.
fn pairs(folder: &Path) -> Result<tokenizers::Tokenizer> {
    let [vocabulary, merges] = ["vocab.json", "merges.txt"].map(|name| folder.join(name));
    let failed = |e: &(dyn std::error::Error + Send + Sync)| broken(&vocabulary, e);
    let name = |path: &Path| path.to_string_lossy().into_owned();
    let model = BPE::from_file(&name(&vocabulary), &name(&merges))
        .end_of_word_suffix("</w>".into())
        .unk_token(END.into())
        .build()
        .map_err(|e| failed(&*e))?;
    let mut words = tokenizers::Tokenizer::new(model);
    let space =
        Replace::new(tokenizers::normalizers::replace::ReplacePattern::Regex(r"\s+".into()), " ");
    let space = space.map_err(|e| failed(&*e))?;
    let steps = vec![NFC.into(), space.into(), Lowercase.into()];
    words.with_normalizer(Some(Sequence::new(steps)));
    let pattern = SplitPattern::Regex(WORDS.into());
    let split = Split::new(pattern, SplitDelimiterBehavior::Removed, true);
    let split = split.map_err(|e| failed(&*e))?;
    let bytes = ByteLevel::new(false, true, true);
    words.with_pre_tokenizer(Some(Steps::new(vec![split.into(), bytes.into()])));
    let special = [BEGIN, END].map(|token| AddedToken::from(token, true));
    words.add_special_tokens(&special);
    Ok(words)
}

/// The token that fills a text up, where `special_tokens_map.json` or `tokenizer_config.json` says
/// one.
fn fill(folder: &Path, words: &tokenizers::Tokenizer) -> Result<Option<u32>> {
    for name in ["special_tokens_map.json", "tokenizer_config.json"] {
        let path = folder.join(name);
        if !path.is_file() {
            continue;
        }
        let action = "check that the file is there and is text";
        let text =
            std::fs::read_to_string(&path).map_err(|e| Error::io(&path, "read", e, action))?;
        let object = crate::json::object(&text, &path.display().to_string())?;
        let Some(token) = object.get("pad_token") else { continue };
        let token = token.get("content").unwrap_or(token);
        return Ok(token.as_str().and_then(|token| words.token_to_id(token)));
    }
    Ok(None)
}
