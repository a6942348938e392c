//! Locks that outlive a panic.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Holds `mutex`, also after a thread has panicked with it: what is locked here is a value that no
/// change leaves half done.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_elsewhere_leaves_the_value() {
        let mutex = Mutex::new(1);
        let panicked = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                *locked(&mutex) += 1;
                let _held = locked(&mutex);
                panic!("with the lock held");
            });
            thread.join()
        });
        assert!(panicked.is_err() && mutex.is_poisoned());
        assert_eq!(*locked(&mutex), 2);
    }
}
