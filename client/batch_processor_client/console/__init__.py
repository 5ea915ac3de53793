"""The console: a web page on loopback over the operations of this package. It never talks to AWS itself.

``guard`` lets in only the browser that has the token, ``asking`` turns answers and errors of AWS into text for a page,
and each module ``*_pages`` has the pages of one noun. Needs the packages of the extra ``console``.
"""
