//! CAR files from gateways.
