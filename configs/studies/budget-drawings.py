"""Study: which budget is best on drawings? A search on two seeds, as budget-search.py on Fashion-MNIST.

Run:       python tools/study.py configs/studies/budget-drawings.py
Needs:     data/openclipart, as in docs/studies.md; a CPU, and about an hour on 2 cores
Expected:  as in docs/evidence.md

It shows whether a budget that is right for one data set is right for another. Pre-training has the 1,688 labelled
drawings. Of a network that is fine-tuned on so few drawings, 520 test images show no budget to be better than another.
So the encoder stays frozen, with a linear layer on it, and `features moved` decides: it is no count of images.
"""

_aemim = '../demo/aemim_vit-tiny_16e_openclipart.py'

methods = {
    'mae': dict(config='../demo/mae_vit-tiny_16e_openclipart.py'),
    **{
        f'eps{eps}': dict(
            config=_aemim,
            options=[f'model.data_preprocessor.eps={eps}', f'model.data_preprocessor.step_size={eps / 2}'],
        )
        for eps in (2, 4, 8, 16, 32, 64)
    },
}
baseline = 'mae'
seeds = [100, 101]
options = ['train_dataloader.dataset.data_prefix=train']
fine_tuning = dict(
    config='../demo/vit-tiny-linear_16e_openclipart.py', suites=['demo', 'encoder'], only=['pgd/2', 'features/[28]']
)
# All test images.
attacked_images = 520
primary = 'moved_8'
