//! CAR files: streams, stores, import and export.
