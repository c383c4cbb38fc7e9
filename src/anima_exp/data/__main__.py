"""Run `python -m anima_exp.inspect_data` under its former name."""

from anima_exp.inspect_data import main

if __name__ == "__main__":
    main()
