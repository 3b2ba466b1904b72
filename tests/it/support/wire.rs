//! A wire between a camera and whoever looks, which can be pulled out: connections stay, and nothing goes through any
//! more, in either direction.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

pub struct Wire {
    pub address: SocketAddr,
    plug: Arc<Plug>,
}

#[derive(Default)]
struct Plug {
    pulled: Mutex<bool>,
    changed: Condvar,
}

impl Wire {
    pub fn to(camera: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let plug = Arc::new(Plug::default());
        let own = Arc::clone(&plug);
        named("wire", move || {
            for near in listener.incoming().flatten() {
                // The camera may be away.
                let Ok(far) = TcpStream::connect(camera) else { continue };
                let (one, other) = (Arc::clone(&own), Arc::clone(&own));
                let (near_too, far_too) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                named("wire-out", move || one.carry(near, far));
                named("wire-in", move || other.carry(far_too, near_too));
            }
        });
        Self { address, plug }
    }

    pub fn pull(&self) {
        *self.plug.pulled.lock() = true;
    }

    pub fn plug_in(&self) {
        *self.plug.pulled.lock() = false;
        self.plug.changed.notify_all();
    }
}

impl Plug {
    fn carry(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            self.changed.wait_while(&mut self.pulled.lock(), |pulled| *pulled);
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        self.changed.wait_while(&mut self.pulled.lock(), |pulled| *pulled);
        // The other side may be gone already.
        let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
    }
}

fn named(name: &str, run: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().name(name.to_owned()).spawn(run).unwrap();
}
