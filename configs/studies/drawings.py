"""Study: AEMIM against MAE on drawings, at the budget that budget-drawings.py found.

Run:       python tools/study.py configs/studies/drawings.py
Needs:     data/openclipart, as in docs/studies.md; a CPU, and about an hour on 2 cores
Expected:  no measured figure yet

The network, images and epochs are those of budget-drawings.py, and the seeds are others. `aemim` has eps 32. `mae-long`
has as many epochs as its time pays for. The encoder stays frozen. The linear probe decides, which was the figure of the
search that says most of accuracy.
"""

_mae = '../demo/mae_vit-tiny_16e_openclipart.py'

methods = {
    'mae': dict(config=_mae),
    'mae-long': dict(
        config=_mae,
        options=['train_cfg.max_epochs=37', 'param_scheduler.1.T_max=35', 'param_scheduler.1.end=37'],
    ),
    'aemim': dict(
        config='../demo/aemim_vit-tiny_16e_openclipart.py',
        options=['model.data_preprocessor.eps=32', 'model.data_preprocessor.step_size=16'],
    ),
}
baseline = 'mae'
seeds = list(range(8))
options = ['train_dataloader.dataset.data_prefix=train']
fine_tuning = dict(
    config='../demo/vit-tiny-linear_16e_openclipart.py', suites=['demo', 'encoder'], only=['pgd/2', 'features/[28]']
)
# All test images.
attacked_images = 520
primary = 'linear'
