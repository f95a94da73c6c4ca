"""
The benchmarks of Litekeep: ``python -m bench`` measures and writes `docs/benchmarks.md`.

    __main__.py     the command: what is run, how often, where it ends up
    plan.py         which measurements, of what size, how many rounds, how long
    database.py     makes a realistic database, always the same bytes
    launch.py       runs one command and says what it cost
    server.py       a real S3 server of our own
    contenders.py   the jobs that are compared, as commands
    guide.sh        the pipeline that people use today
    floor.py        read, compress, send: the least that a backup can cost
    bare.py         read, decompress, write: the least that a restore can cost
    writer.py       an application that commits without pause
    application.py  what a backup does to that application
    measure.py      the rounds, contender after contender
    results.py      what was measured, as values and as JSON
    bars.py         what was promised, and whether it was kept
    figures.py      SVG drawings
    page.py         the page of the documentation

It is no part of the installed package, and it knows Litekeep only as a command.
"""
