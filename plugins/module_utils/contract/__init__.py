"""What the playbooks, the dispatcher, the trainer and the server must agree on; it knows nothing of Ansible.

Ansible imports it where it lies. The dispatcher's zip and both images carry a copy, ``nerforge_contract``,
made with them. Only relative imports, and at import time only the standard library.
"""
