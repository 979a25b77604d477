//! One tokio runtime for all engines of the process. It ends with the last of them.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::available_parallelism;

use tokio::runtime::{Builder, Handle, Runtime};

use super::error::{Error, Result};

/// Keeps the runtime alive.
pub(crate) struct SharedRuntime {
    runtime: Option<Runtime>,
    handle: Handle,
}

static SHARED: Mutex<Weak<SharedRuntime>> = Mutex::new(Weak::new());

impl SharedRuntime {
    /// Returns the runtime; starts it if there is none.
    ///
    /// # Errors
    /// [`Error::Settings`] if the system gives no threads.
    pub(crate) fn get() -> Result<Arc<Self>> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = shared.upgrade() {
            return Ok(runtime);
        }
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads())
            .thread_name("sio-redis")
            .enable_io()
            .enable_time()
            .build()
            .map_err(|e| Error::Settings { what: "runtime", reason: e.to_string() })?;
        let handle = runtime.handle().clone();
        let runtime = Arc::new(Self { runtime: Some(runtime), handle });
        *shared = Arc::downgrade(&runtime);
        Ok(runtime)
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

/// The number of the runtime's threads. On two cores a second thread competes with the JS thread
/// and Redis, and each switch costs time: with one thread, a publish takes a fifth less CPU
/// (`npm run bench "publish, 1,000"`, both in turn).
fn threads() -> usize {
    if available_parallelism().is_ok_and(|cores| cores.get() > 2) { 2 } else { 1 }
}

impl Drop for SharedRuntime {
    fn drop(&mut self) {
        // One of the runtime's own tasks may drop it, and waiting for the threads there would
        // panic.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
