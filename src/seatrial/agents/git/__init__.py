"""The git part of the agents area: private clones in, checked objects out, plans that land them.

`workspace.create_workspace` → the agent works → `relay.collect` → `diffs.diff`, `merge.plan_merge` →
`landing.execute_merge`; `provenance.unmerged` before `relay.forget` and `workspace.release_base`.

Host git touches three kinds of folders: repositories of Seatrial's own (`host_git`), the user's own repository
(`user_git`), and an agent's clone *before its agent first ran* (`workspace`).  Never an agent's clone after that.
"""
