#!/usr/bin/env python
"""Print what each adapter of a config adds to the network and to a training step, counted on a CPU.

Example:
    python tools/analysis_tools/adapters.py configs/aemim_vit-b_800e.py
"""

import argparse


def main():
    parser = argparse.ArgumentParser(description='Print what each adapter of a config adds to network and step.')
    parser.add_argument('config', help='config of a pre-training with AEMIM')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='change the config')
    parser.add_argument('--record', metavar='FILE', help='write the figures as a record, JSON')
    args = parser.parse_args()
    # Imported here, because these imports take seconds and --help needs none of them.
    from aemim_mm.benchmark.step_cost import adapter_costs
    from aemim_mm.benchmark.table import ADAPTER_COLUMNS
    from aemim_mm.launch import load_config, one_clear_error
    from aemim_mm.report.record import write_record
    from aemim_mm.report.table import markdown_table

    with one_clear_error():
        rows = adapter_costs(load_config(args.config, options=args.cfg_options))
        print(markdown_table(rows, ADAPTER_COLUMNS))
        if args.record:
            write_record(args.record, rows, config=args.config)


if __name__ == '__main__':
    main()
