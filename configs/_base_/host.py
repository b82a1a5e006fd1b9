"""What every config under hosts/ changes in mmpretrain's recipe, beside the method.

A config takes the parts with this line:

    train_dataloader, optim_wrapper, train_cfg, default_hooks, env_cfg = _base_.host_parts

The attack has its default budget, the paper's: 2 of 255, in 2 steps. Change it with --cfg-options
data_preprocessor.eps=E data_preprocessor.steps=N.
"""

custom_imports = dict(imports=['aemim_mm'], allow_failed_imports=False)

host_parts = (
    # A collate_fn inherited from `mmpretrain::` has a field `_scope_`, which the function does not accept.
    dict(collate_fn=dict(_delete_=True, type='default_collate')),
    # One parameter group for each weight decay, not for each parameter: less work for the host.
    dict(type='Bfloat16OptimWrapper', constructor='MergedOptimWrapperConstructor', optimizer=dict(type='FusedAdamW')),
    # Exact resume and safe checkpoints: see docs/resumption.md.
    dict(type='ResumableEpochLoop'),
    dict(checkpoint=dict(type='SafeCheckpointHook')),
    dict(dist_cfg=dict(timeout=600)),
)
