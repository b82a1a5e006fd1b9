"""All 60,000 training images of Fashion-MNIST; tools/dataset_converters/fashion_mnist.py prepares them."""

_base_ = './demo_fashion_mnist.py'

train_dataloader = dict(dataset=dict(data_root='data/fashion-mnist', limit=None))
