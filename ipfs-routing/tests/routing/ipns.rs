//! IPNS records: made, checked, and compared.
