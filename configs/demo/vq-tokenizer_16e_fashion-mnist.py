"""A VQ tokenizer for the demo of CIM: 16 tokens for an image, of 256 codes.

Run:       python tools/train.py configs/demo/vq-tokenizer_16e_fashion-mnist.py
Needs:     a CPU, and 1 to 2 minutes on one core
Expected:  work_dirs/vq-tokenizer_16e_fashion-mnist/epoch_16.pth, which cim_vit-tiny_16e_fashion-mnist.py reads

It is not DALL-E's tokenizer, which needs images of 112 pixels. A token covers a patch of the demo's encoder.
"""

_base_ = ['../_base_/demo_fashion_mnist.py', '../_base_/demo_runtime.py']

model = dict(
    type='VQTokenizer',
    image_channels=1,
    channels=64,
    embed_dims=16,
    vocab_size=256,
    strides=(7,),
    # Pixels, 0-255.
    data_preprocessor=dict(type='BatchDataPreprocessor', sample_fields=()),
)
