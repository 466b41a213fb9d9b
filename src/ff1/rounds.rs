//! The ten Feistel rounds of FF1, for one number and for many side by side.
#![forbid(unsafe_code)]

use aes::Block;
use cipher::{
    BlockCipherEncBackend, BlockCipherEncClosure, BlockSizeUser, InOut, InOutBuf, consts::U16,
    typenum::Unsigned,
};
use zeroize::optimization_barrier;

use super::{Item, Shape};

/// How many numbers run side by side: what `aes` does in one step on the widest processor.
pub(super) const LANES: usize = 64;

/// From this many numbers on, a step of [`LANES`] blocks is cheaper than single blocks.
const WORTH_FILLING: usize = 25;

/// Runs one number through the rounds.
pub(super) struct One<'a, const DECRYPT: bool> {
    pub(super) shape: &'a Shape,
    pub(super) item: &'a mut Item,
}

/// Runs any count of numbers through the rounds, [`LANES`] at a time.
pub(super) struct Many<'a, const DECRYPT: bool> {
    pub(super) shape: &'a Shape,
    pub(super) items: &'a mut [Item],
}

impl<const DECRYPT: bool> BlockSizeUser for One<'_, DECRYPT> {
    type BlockSize = U16;
}

impl<const DECRYPT: bool> BlockSizeUser for Many<'_, DECRYPT> {
    type BlockSize = U16;
}

impl<const DECRYPT: bool> BlockCipherEncClosure for One<'_, DECRYPT> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, backend: &B) {
        if self.shape.wide {
            one::<B, DECRYPT, true>(backend, self.shape, self.item);
        } else {
            one::<B, DECRYPT, false>(backend, self.shape, self.item);
        }
    }
}

impl<const DECRYPT: bool> BlockCipherEncClosure for Many<'_, DECRYPT> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, backend: &B) {
        if self.shape.wide {
            many::<B, DECRYPT, true>(backend, self.shape, self.items);
        } else {
            many::<B, DECRYPT, false>(backend, self.shape, self.items);
        }
    }
}

/// Steps 6 i to ix of Algorithms 7 and 8. Even rounds change the left half, odd ones the right:
/// with that, the exchange of A and B needs no work.
#[inline(always)]
fn one<B, const DECRYPT: bool, const WIDE: bool>(backend: &B, shape: &Shape, item: &mut Item)
where
    B: BlockCipherEncBackend<BlockSize = U16>,
{
    let mut block = Block::default();
    for step in 0..5 {
        for parity in 0..2 {
            let round = round_number::<DECRYPT>(2 * step + parity);
            let left_changes = round & 1 == 0;
            let (changed, other, modulus) = if left_changes {
                (&mut item.left, item.right, &shape.left)
            } else {
                (&mut item.right, item.left, &shape.right)
            };
            // 6.i, 6.ii
            let low = item.prefix[1] ^ shape.round_mark(round) ^ other;
            block = join(item.prefix[0], low);
            backend.encrypt_block(InOut::from(&mut block));
            // 6.iii to 6.vii
            let (top, y) = first_bytes::<WIDE>(&block);
            *changed = if DECRYPT {
                modulus.subtract::<WIDE>(*changed, top, y)
            } else {
                modulus.add::<WIDE>(*changed, top, y)
            };
        }
    }
    block.fill(0);
    optimization_barrier(&block);
}

/// The halves and blocks of [`LANES`] numbers, each kind in one row.
struct Lanes {
    left: [u64; LANES],
    right: [u64; LANES],
    prefix: [[u64; LANES]; 2],
    input: [Block; LANES],
    output: [Block; LANES],
}

#[inline(always)]
fn many<B, const DECRYPT: bool, const WIDE: bool>(backend: &B, shape: &Shape, items: &mut [Item])
where
    B: BlockCipherEncBackend<BlockSize = U16>,
{
    let mut lanes = Lanes {
        left: [0; LANES],
        right: [0; LANES],
        prefix: [[0; LANES]; 2],
        input: [Block::default(); LANES],
        output: [Block::default(); LANES],
    };
    for group in items.chunks_mut(LANES) {
        lanes.load(group);
        let blocks = if group.len() < WORTH_FILLING {
            group.len()
        } else {
            LANES
        };
        for step in 0..5 {
            let even = round_number::<DECRYPT>(2 * step + usize::from(DECRYPT));
            let odd = round_number::<DECRYPT>(2 * step + usize::from(!DECRYPT));
            if DECRYPT {
                lanes.right_round::<B, DECRYPT, WIDE>(backend, shape, odd, blocks);
                lanes.left_round::<B, DECRYPT, WIDE>(backend, shape, even, blocks);
            } else {
                lanes.left_round::<B, DECRYPT, WIDE>(backend, shape, even, blocks);
                lanes.right_round::<B, DECRYPT, WIDE>(backend, shape, odd, blocks);
            }
        }
        lanes.store(group);
    }
    lanes.wipe();
}

impl Lanes {
    #[inline(always)]
    fn load(&mut self, group: &[Item]) {
        let [high, low] = &mut self.prefix;
        let halves = self.left.iter_mut().zip(&mut self.right);
        let prefixes = high.iter_mut().zip(low);
        for (((left, right), (high, low)), item) in halves.zip(prefixes).zip(group) {
            *left = item.left;
            *right = item.right;
            [*high, *low] = item.prefix;
        }
    }

    #[inline(always)]
    fn store(&self, group: &mut [Item]) {
        for ((left, right), item) in self.left.iter().zip(&self.right).zip(group) {
            item.left = *left;
            item.right = *right;
        }
    }

    #[inline(always)]
    fn left_round<B, const DECRYPT: bool, const WIDE: bool>(
        &mut self,
        backend: &B,
        shape: &Shape,
        round: usize,
        blocks: usize,
    ) where
        B: BlockCipherEncBackend<BlockSize = U16>,
    {
        fill(
            &mut self.input,
            &self.prefix,
            &self.right,
            shape.round_mark(round),
        );
        encrypt(backend, &self.input, &mut self.output, blocks);
        absorb::<DECRYPT, WIDE>(&mut self.left, &self.output, &shape.left);
    }

    #[inline(always)]
    fn right_round<B, const DECRYPT: bool, const WIDE: bool>(
        &mut self,
        backend: &B,
        shape: &Shape,
        round: usize,
        blocks: usize,
    ) where
        B: BlockCipherEncBackend<BlockSize = U16>,
    {
        fill(
            &mut self.input,
            &self.prefix,
            &self.left,
            shape.round_mark(round),
        );
        encrypt(backend, &self.input, &mut self.output, blocks);
        absorb::<DECRYPT, WIDE>(&mut self.right, &self.output, &shape.right);
    }

    fn wipe(&mut self) {
        self.left.fill(0);
        self.right.fill(0);
        self.prefix = [[0; LANES]; 2];
        self.input.fill(Block::default());
        self.output.fill(Block::default());
        optimization_barrier(self);
    }
}

/// Steps 6.i and 6.ii up to the cipher, for each lane.
#[inline(always)]
fn fill(input: &mut [Block; LANES], prefix: &[[u64; LANES]; 2], half: &[u64; LANES], mark: u64) {
    let prefixes = prefix[0].iter().zip(&prefix[1]);
    for ((block, half), (high, low)) in input.iter_mut().zip(half).zip(prefixes) {
        *block = join(*high, low ^ mark ^ half);
    }
}

/// The cipher over the first `count` blocks.
#[inline(always)]
fn encrypt<B>(backend: &B, input: &[Block; LANES], output: &mut [Block; LANES], count: usize)
where
    B: BlockCipherEncBackend<BlockSize = U16>,
{
    let (Some(input), Some(output)) = (input.get(..count), output.get_mut(..count)) else {
        return;
    };
    let Ok(blocks) = InOutBuf::new(input, output) else {
        return;
    };
    if B::ParBlocksSize::USIZE > 1 {
        let (chunks, tail) = blocks.into_chunks();
        for chunk in chunks {
            backend.encrypt_par_blocks(chunk);
        }
        backend.encrypt_tail_blocks(tail);
    } else {
        for block in blocks {
            backend.encrypt_block(block);
        }
    }
}

/// Steps 6.iii to 6.vii, for each lane.
#[inline(always)]
fn absorb<const DECRYPT: bool, const WIDE: bool>(
    half: &mut [u64; LANES],
    output: &[Block; LANES],
    modulus: &super::modulus::Modulus,
) {
    for (half, block) in half.iter_mut().zip(output) {
        let (top, y) = first_bytes::<WIDE>(block);
        *half = if DECRYPT {
            modulus.subtract::<WIDE>(*half, top, y)
        } else {
            modulus.add::<WIDE>(*half, top, y)
        };
    }
}

/// Round i of ten; decryption counts down.
#[inline(always)]
const fn round_number<const DECRYPT: bool>(step: usize) -> usize {
    if DECRYPT { 9 - step } else { step }
}

/// Two big-endian halves of a block.
#[inline(always)]
pub(super) fn join(high: u64, low: u64) -> Block {
    let mut block = Block::default();
    let (front, back) = block.split_at_mut(8);
    front.copy_from_slice(&high.to_be_bytes());
    back.copy_from_slice(&low.to_be_bytes());
    block
}

/// The big-endian halves of a block.
#[inline(always)]
pub(super) fn split(block: &Block) -> [u64; 2] {
    let [high, low] = block.as_chunks::<8>().0 else {
        return [0; 2];
    };
    [u64::from_be_bytes(*high), u64::from_be_bytes(*low)]
}

/// S as a number: the first 12 bytes if `WIDE`, else the first 8.
#[inline(always)]
fn first_bytes<const WIDE: bool>(block: &Block) -> (u32, u64) {
    let [high, low] = split(block);
    if WIDE {
        ((high >> 32) as u32, (high << 32) | (low >> 32))
    } else {
        (0, high)
    }
}
