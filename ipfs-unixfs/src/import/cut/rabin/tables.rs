//! Tables of the Rabin fingerprint, made when this is compiled.

/// The polynomial: irreducible, and part of the format, as Kubo cuts.
const POLYNOMIAL: u64 = 17_437_180_132_763_653;

/// Its degree.
pub(super) const DEGREE: u32 = POLYNOMIAL.ilog2();

/// What a byte has become once 15 others stand behind it: taking that away removes it.
pub(super) static REMOVE: [u64; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut print = byte as u64;
        let mut behind = 0;
        while behind < 15 {
            print = reduce(print << 8);
            behind += 1;
        }
        table[byte] = print;
        byte += 1;
    }
    table
};

/// For the eight bits above the degree: those bits themselves, and what they are below it.
pub(super) static REDUCE: [u64; 256] = {
    let mut table = [0; 256];
    let mut above = 0;
    while above < 256 {
        let bits = (above as u64) << DEGREE;
        table[above] = bits | reduce(bits);
        above += 1;
    }
    table
};

/// The remainder by the polynomial.
const fn reduce(mut value: u64) -> u64 {
    while value >> DEGREE != 0 {
        value ^= POLYNOMIAL << (value.ilog2() - DEGREE);
    }
    value
}
