"""Print a config with all that it inherits.

Example:
    python tools/analysis_tools/print_config.py configs/aemim_vit-b_800e.py
"""

import argparse


def main():
    parser = argparse.ArgumentParser(description='Print a config with all that it inherits.')
    parser.add_argument('config', help='config file')
    parser.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE', help='change the config')
    args = parser.parse_args()
    # Imported late: importing the stack takes seconds, and --help is to answer at once.
    from aemim_mm.launch import load_config, one_clear_error

    with one_clear_error():
        print(load_config(args.config, options=args.cfg_options).pretty_text)


if __name__ == '__main__':
    main()
