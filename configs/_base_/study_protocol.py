"""How studies on the demo's network evaluate an encoder: probes, fine-tuning with few labels, attacks and corruptions.

Needs data/fashion-mnist, by tools/dataset_converters/fashion_mnist.py. Probes have all 60,000 training images, and all
accuracies are on all 10,000 test images, except those under attacks and the 15 corruptions at severity 3.
"""

_data = 'data/fashion-mnist'

fine_tuning = dict(
    config='../demo/vit-tiny_16e_fashion-mnist.py',
    options=[f'{name}_dataloader.dataset.data_root={_data}' for name in ('train', 'val', 'test')],
    suites=['demo', 'encoder'],
    only=['pgd/*', '*/3', 'features/2', 'features/8'],
)
options = []
