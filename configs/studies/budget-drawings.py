"""Study: which budget is best on drawings? A search on three seeds, as budget-search.py on Fashion-MNIST.

Run:       python tools/study.py configs/studies/budget-drawings.py
Needs:     data/openclipart, as in docs/studies.md; a CPU, and about two and a half hours on 2 cores
Expected:  no measured figure yet

It shows whether a budget that is right for one data set is right for another.
"""

_aemim = '../demo/aemim_vit-tiny_16e_openclipart.py'

methods = {
    'mae': dict(config='../demo/mae_vit-tiny_16e_openclipart.py'),
    **{
        f'eps{eps}': dict(
            config=_aemim,
            options=[f'model.data_preprocessor.eps={eps}', f'model.data_preprocessor.step_size={eps / 2}'],
        )
        for eps in (2, 4, 8, 16, 32)
    },
}
baseline = 'mae'
seeds = [100, 101, 102]
options = []
fine_tuning = dict(config='../demo/vit-tiny_16e_openclipart.py', only=['pgd/*', '*/3'])
# All test images.
attacked_images = 520
primary = 'pgd_2'
