use super::*;

fn data(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 % 251) as u8).collect()
}

#[test]
fn batches_give_what_single_calls_give() {
    // Lengths that fill lanes, leave some empty, fall below the threshold and mix.
    let lengths = [0, 1, 55, 56, 64, 1023, 1024, 1025, 5000, 70_000];
    let hashes = HashTable::standard();
    for count in [1, 2, 3, 7, 15, 16, 17, 33] {
        for shift in 0..3 {
            let inputs: Vec<Vec<u8>> = (0..count)
                .map(|i| data(lengths[(i * (shift + 1)) % lengths.len()] + shift))
                .collect();
            let slices: Vec<&[u8]> = inputs.iter().map(|input| &input[..]).collect();
            for code in hashes.codes().filter(|code| *code != codes::IDENTITY) {
                let many = hashes.hash_many(code, &slices).unwrap();
                for (input, many) in slices.iter().zip(many) {
                    assert_eq!(hashes.hash(code, input).unwrap(), many, "0x{code:x}");
                }
            }
        }
    }
}

#[test]
fn equal_long_inputs_go_through_the_lanes() {
    let inputs: Vec<Vec<u8>> = (0..40).map(|i| vec![i; 4096]).collect();
    let slices: Vec<&[u8]> = inputs.iter().map(|input| &input[..]).collect();
    let many = HashTable::standard().hash_many(codes::SHA2_256, &slices).unwrap();
    for (input, hash) in slices.iter().zip(many) {
        assert_eq!(hash.digest(), &<sha2::Sha256 as sha2::Digest>::digest(input)[..]);
    }
}

#[test]
fn verify_many_answers_each_alone() {
    let hashes = HashTable::standard();
    let good = Cid::new_v1(codes::RAW, hashes.hash(codes::SHA2_256, b"good").unwrap());
    let cut = Cid::new_v1(codes::RAW, good.hash().truncate(20));
    let tiny = Cid::new_v1(codes::RAW, good.hash().truncate(10));
    let inline = Cid::new_v1(codes::RAW, hashes.hash(codes::IDENTITY, b"good").unwrap());
    let md5 = Cid::new_v1(codes::RAW, Multihash::wrap(0xd5, &[0; 20]).unwrap());
    let long = Cid::new_v1(codes::RAW, Multihash::wrap(codes::SHA1, &[0; 21]).unwrap());
    let answers = hashes.verify_many(&[
        (good, b"good"),
        (good, b"bad"),
        (cut, b"good"),
        (tiny, b"good"),
        (inline, b"good"),
        (inline, b"bad"),
        (md5, b""),
        (long, b""),
    ]);
    assert!(answers[0].is_ok());
    assert!(matches!(answers[1], Err(Error::Corrupt(c)) if c == good));
    assert!(answers[2].is_ok());
    assert!(matches!(answers[3], Err(Error::Limit { limit: 20, actual: 10, .. })));
    assert!(answers[4].is_ok());
    assert!(matches!(answers[5], Err(Error::Corrupt(c)) if c == inline));
    assert!(matches!(answers[6], Err(Error::UnknownHash(0xd5))));
    assert!(matches!(answers[7], Err(Error::Malformed { .. })));
    for (i, (cid, bytes)) in
        [(good, &b"good"[..]), (good, b"bad"), (cut, b"good")].iter().enumerate()
    {
        assert_eq!(hashes.verify(cid, bytes).is_ok(), answers[i].is_ok());
    }
}

#[test]
fn identity_is_bounded() {
    let hashes = HashTable::empty();
    assert_eq!(hashes.hash(codes::IDENTITY, &[1; 64]).unwrap().size(), 64);
    assert!(matches!(
        hashes.hash(codes::IDENTITY, &[1; 65]),
        Err(Error::Limit { limit: 64, actual: 65, .. })
    ));
    assert!(matches!(hashes.hash(codes::SHA1, b""), Err(Error::UnknownHash(codes::SHA1))));
}

#[test]
fn a_function_of_ones_own_replaces_and_is_checked() {
    #[derive(Debug)]
    struct Fake(u64, usize);
    impl HashFunction for Fake {
        fn code(&self) -> u64 {
            self.0
        }
        fn size(&self) -> usize {
            self.1
        }
        fn digest(&self, _: &[u8], out: &mut [u8]) {
            out.fill(7);
        }
    }
    let hashes = HashTable::standard().with(Fake(codes::SHA1, 20)).unwrap();
    assert_eq!(hashes.hash(codes::SHA1, b"x").unwrap().digest(), [7; 20]);
    assert_eq!(hashes.codes().count(), HashTable::standard().codes().count());
    assert!(HashTable::empty().with(Fake(0, 20)).is_err());
    assert!(HashTable::empty().with(Fake(1, 65)).is_err());
    assert!(HashTable::empty().with(Fake(1, 0)).is_err());
}
