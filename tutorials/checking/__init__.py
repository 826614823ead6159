"""What `tutorials/check.py` is made of.

values      tensors, numbers and texts on their way to the student's process and back
runner      that process: calls one function of a submission on given inputs and notes what comes back
sandbox     starts it, stops it after the time limit, reads what it noted
tasks       a task: inputs, an independent computation of what is expected, and the mistakes it knows by name
diagnose    from what is expected and what came back to one sentence
source      what a submission names and calls, before it is run
lessons     the Markdown of the lessons, cut into what runs, what is quoted and what is typed
bugs, probe the bug hunt's broken steps, and what a step does; bug_hunt.py is its command, broken_runs/ its
            metrics
report      the command line
ex01 ...    the tasks of each exercise file
"""
