//! What an error must say.

/// Fails unless `result` is an error whose message has every part.
#[track_caller]
pub fn assert_says<T>(result: Result<T, String>, parts: &[&str]) {
    let Err(message) = result else { panic!("no error, expected one with {parts:?}") };
    for part in parts {
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    }
}
