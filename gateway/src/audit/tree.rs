//! The Merkle tree hash of RFC 6962, section 2.1, over the lines so far, in memory that grows with the logarithm of their number.

use super::hash::{Hash, sha256};
use super::note::Checkpoint;

/// The roots of the perfect trees that the leaves so far make up ("compact range"), largest and oldest first. Sizes are
/// powers of two, each smaller than the one before; their sum is [`Tree::size`].
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    perfect: Vec<(u64, Hash)>,
    size: u64,
}

impl Tree {
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn push(&mut self, leaf: &[u8]) {
        let mut added = (1_u64, sha256(&[&[0], leaf]));
        while let Some(&(size, left)) = self.perfect.last()
            && size == added.0
        {
            self.perfect.pop();
            added = (size.saturating_mul(2), node(&left, &added.1));
        }
        self.perfect.push(added);
        self.size = self.size.saturating_add(1);
    }

    /// The checkpoint that covers all of it.
    pub(super) fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            size: self.size,
            root: self.root(),
        }
    }

    /// The hash of the whole tree; of an empty one, that of nothing.
    pub(super) fn root(&self) -> Hash {
        let mut hashes = self.perfect.iter().rev().map(|(_size, hash)| *hash);
        let Some(smallest) = hashes.next() else {
            return sha256(&[]);
        };
        hashes.fold(smallest, |right, left| node(&left, &right))
    }
}

fn node(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], &left.0, &right.0])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The leaves of the reference vectors of Certificate Transparency (`merkletree/testonly` in transparency-dev/merkle).
    const LEAVES: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];

    /// Their roots, by the number of leaves.
    const ROOTS: [&str; 9] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    /// The definition of RFC 6962, section 2.1, computed anew each time.
    fn defined(leaves: &[Vec<u8>]) -> Hash {
        match leaves {
            [] => sha256(&[]),
            [only] => sha256(&[&[0], only]),
            _ => {
                let split = leaves.len().next_power_of_two() >> 1;
                let (left, right) = leaves.split_at(split);
                sha256(&[&[1], &defined(left).0, &defined(right).0])
            }
        }
    }

    #[test]
    fn published_roots_are_met() {
        let mut tree = Tree::default();
        assert_eq!(tree.root().to_string(), ROOTS[0]);
        for (leaf, root) in LEAVES.iter().zip(&ROOTS[1..]) {
            tree.push(leaf);
            assert_eq!(tree.root().to_string(), *root);
        }
    }

    #[test]
    fn compact_range_is_the_definition_and_stays_small() {
        let (mut tree, mut leaves) = (Tree::default(), Vec::new());
        for number in 0_u32..300 {
            tree.push(&number.to_be_bytes());
            leaves.push(number.to_be_bytes().to_vec());
            assert_eq!(tree.root(), defined(&leaves));
            assert_eq!(tree.size(), u64::from(number).saturating_add(1));
            assert!(tree.perfect.len() <= 9);
        }
    }
}
