"""The git part of the agents area: private clones in, checked objects out, plans that land them.

Host git touches three kinds of folders: repositories of Seatrial's own (`host_git`), the user's own repository
(`user_git`), and an agent's clone *before its agent first ran* (`workspace`).  Never an agent's clone after that.
"""
