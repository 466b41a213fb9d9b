//! The ten Feistel rounds of FF1, for one number and for many side by side.
#![forbid(unsafe_code)]

use core::ops::Range;

use aes::Block;
use cipher::{
    BlockCipherEncBackend, BlockCipherEncClosure, BlockSizeUser, InOut, InOutBuf, ParBlocks,
    consts::U16, typenum::Unsigned,
};
use zeroize::optimization_barrier;

use super::modulus::Modulus;
use super::{Item, Lane, Shape};

/// How many numbers run side by side: what `aes` does in one step on the widest processor.
pub(super) const LANES: usize = 64;

/// How many run side by side in what is left over, and where S has 12 bytes.
const FEW_LANES: usize = 8;

/// From this many numbers on, [`LANES`] at once are cheaper than [`FEW_LANES`] at a time.
const WORTH_FILLING: usize = 4 * FEW_LANES + 1;

/// Runs one number through the rounds.
pub(super) struct One<'a, const DECRYPT: bool> {
    pub(super) shape: &'a Shape,
    pub(super) item: &'a mut Item,
}

/// Runs any count of numbers through the rounds, [`LANES`] at a time.
pub(super) struct Many<'a, T: Numbers + ?Sized, const DECRYPT: bool> {
    pub(super) shape: &'a Shape,
    pub(super) numbers: &'a mut T,
}

/// Numbers of one shape that go through FF1 side by side. Both ways are compiled into the
/// cipher's code, with the vector instructions that it found: loops over rows go fastest.
pub(crate) trait Numbers {
    /// How many there are.
    fn count(&self) -> usize;

    /// The numbers from `start` on: `N`, or as many as there are.
    fn load<const N: usize>(&self, start: usize) -> impl Iterator<Item = Lane>;

    /// Takes the halves of the same numbers back.
    fn store<const N: usize>(&mut self, start: usize, halves: impl Iterator<Item = [u64; 2]>);
}

impl Numbers for [Item] {
    #[inline(always)]
    fn count(&self) -> usize {
        self.len()
    }

    #[inline(always)]
    fn load<const N: usize>(&self, start: usize) -> impl Iterator<Item = Lane> {
        let items = self.get(start..).unwrap_or_default();
        items.iter().take(N).map(|item| item.0)
    }

    #[inline(always)]
    fn store<const N: usize>(&mut self, start: usize, halves: impl Iterator<Item = [u64; 2]>) {
        let items = self.get_mut(start..).unwrap_or_default();
        for (item, halves) in items.iter_mut().take(N).zip(halves) {
            item.0.halves = halves;
        }
    }
}

impl<const DECRYPT: bool> BlockSizeUser for One<'_, DECRYPT> {
    type BlockSize = U16;
}

impl<T: Numbers + ?Sized, const DECRYPT: bool> BlockSizeUser for Many<'_, T, DECRYPT> {
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

impl<T: Numbers + ?Sized, const DECRYPT: bool> BlockCipherEncClosure for Many<'_, T, DECRYPT> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, backend: &B) {
        let Self { shape, numbers } = self;
        let count = numbers.count();
        if shape.wide {
            side_by_side::<B, T, DECRYPT, true, FEW_LANES>(backend, shape, numbers, 0..count);
            return;
        }
        let left_over = count % LANES;
        let few = if left_over < WORTH_FILLING {
            left_over
        } else {
            0
        };
        let groups = count - few;
        side_by_side::<B, T, DECRYPT, false, LANES>(backend, shape, numbers, 0..groups);
        side_by_side::<B, T, DECRYPT, false, FEW_LANES>(backend, shape, numbers, groups..count);
    }
}

/// Steps 6 i to ix of Algorithms 7 and 8. Even rounds change the left half, odd ones the right:
/// with that, the exchange of A and B needs no work.
#[inline(always)]
fn one<B, const DECRYPT: bool, const WIDE: bool>(backend: &B, shape: &Shape, item: &mut Item)
where
    B: BlockCipherEncBackend<BlockSize = U16>,
{
    // Copies, so that no store makes the compiler load them again.
    let (left, right) = (*shape.left, *shape.right);
    for step in 0..5 {
        for parity in 0..2 {
            let round = round_number::<DECRYPT>(2 * step + parity);
            let left_changes = round & 1 == 0;
            let [first, second] = &mut item.0.halves;
            let (changed, other, modulus) = if left_changes {
                (first, *second, &left)
            } else {
                (second, *first, &right)
            };
            // 6.i, 6.ii
            let low = item.0.prefix[1] ^ shape.round_mark(round) ^ other;
            // The block's address is never given away, so that it lives in registers alone.
            let mut block = join(item.0.prefix[0], low);
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
}

/// The same for many numbers, `N` at a time.
#[inline(always)]
fn side_by_side<B, T, const DECRYPT: bool, const WIDE: bool, const N: usize>(
    backend: &B,
    shape: &Shape,
    numbers: &mut T,
    range: Range<usize>,
) where
    B: BlockCipherEncBackend<BlockSize = U16>,
    T: Numbers + ?Sized,
{
    if range.is_empty() {
        return;
    }
    // Copies, so that no store makes the compiler load them again.
    let moduli = [*shape.left, *shape.right];
    let mut lanes = Lanes::<N>::new();
    for start in range.step_by(N) {
        lanes.load(numbers.load::<N>(start));
        for pair in 0..5 {
            lanes.round::<B, DECRYPT, WIDE>(backend, shape, &moduli, 2 * pair);
            lanes.round::<B, DECRYPT, WIDE>(backend, shape, &moduli, 2 * pair + 1);
        }
        numbers.store::<N>(start, lanes.halves());
    }
    lanes.wipe();
}

/// The halves and blocks of `N` numbers, each kind in one row.
struct Lanes<const N: usize> {
    left: [u64; N],
    right: [u64; N],
    prefix: [[u64; N]; 2],
    input: [Block; N],
    output: [Block; N],
    /// The second halves of the output, which are not used. Taken out all the same: vector loads
    /// of every other word would leave the last lanes to a slow loop.
    unused: [u64; N],
}

impl<const N: usize> Lanes<N> {
    #[inline(always)]
    fn new() -> Self {
        Self {
            left: [0; N],
            right: [0; N],
            prefix: [[0; N]; 2],
            input: [Block::default(); N],
            output: [Block::default(); N],
            unused: [0; N],
        }
    }

    #[inline(always)]
    fn load(&mut self, numbers: impl Iterator<Item = Lane>) {
        let [high, low] = &mut self.prefix;
        let halves = self.left.iter_mut().zip(&mut self.right);
        let prefixes = high.iter_mut().zip(low);
        for (((left, right), (high, low)), lane) in halves.zip(prefixes).zip(numbers) {
            [*left, *right] = lane.halves;
            [*high, *low] = lane.prefix;
        }
    }

    #[inline(always)]
    fn round<B, const DECRYPT: bool, const WIDE: bool>(
        &mut self,
        backend: &B,
        shape: &Shape,
        [even, odd]: &[Modulus; 2],
        step: usize,
    ) where
        B: BlockCipherEncBackend<BlockSize = U16>,
    {
        let round = round_number::<DECRYPT>(step);
        let mark = shape.round_mark(round);
        let (changed, other, modulus) = if round & 1 == 0 {
            (&mut self.left, &self.right, even)
        } else {
            (&mut self.right, &self.left, odd)
        };
        // 6.i, 6.ii
        let prefixes = self.prefix[0].iter().zip(&self.prefix[1]);
        for ((block, half), (high, low)) in self.input.iter_mut().zip(other).zip(prefixes) {
            *block = join(*high, low ^ mark ^ half);
        }
        encrypt(backend, &self.input, &mut self.output);
        // 6.iii to 6.vii
        let outputs = self.output.iter().zip(&mut self.unused);
        for (half, (block, unused)) in changed.iter_mut().zip(outputs) {
            *unused = split(block)[1];
            let (top, y) = first_bytes::<WIDE>(block);
            *half = if DECRYPT {
                modulus.subtract::<WIDE>(*half, top, y)
            } else {
                modulus.add::<WIDE>(*half, top, y)
            };
        }
    }

    #[inline(always)]
    fn halves(&self) -> impl Iterator<Item = [u64; 2]> {
        let halves = self.left.iter().zip(&self.right);
        halves.map(|(left, right)| [*left, *right])
    }

    fn wipe(&mut self) {
        *self = Self::new();
        optimization_barrier(self);
    }
}

/// The cipher over all blocks.
#[inline(always)]
fn encrypt<B, const N: usize>(backend: &B, input: &[Block; N], output: &mut [Block; N])
where
    B: BlockCipherEncBackend<BlockSize = U16>,
{
    // Groups are split off by hand: `into_chunks` would divide by the size of a group.
    let group = B::ParBlocksSize::USIZE;
    let mut input = input.as_slice();
    let mut output = output.as_mut_slice();
    while group <= input.len() && group <= output.len() {
        let (from, later) = input.split_at(group);
        let (to, room) = core::mem::take(&mut output).split_at_mut(group);
        if let (Ok(from), Ok(to)) = (from.try_into(), to.try_into()) {
            let from: &ParBlocks<B> = from;
            let to: &mut ParBlocks<B> = to;
            backend.encrypt_par_blocks(InOut::from((from, to)));
        }
        (input, output) = (later, room);
    }
    if let Ok(tail) = InOutBuf::new(input, output) {
        backend.encrypt_tail_blocks(tail);
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
