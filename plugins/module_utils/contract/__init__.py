"""What the playbooks, the dispatcher, the trainer and the server must agree on; it knows nothing of Ansible.

Ansible imports it where it lies. The dispatcher's zip and both images carry a copy, named ``nerforge_contract``,
made when they are built. Only relative imports, and at import time only the standard library.
"""
