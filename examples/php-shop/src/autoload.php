<?php

declare(strict_types=1);

// A project with Composer has its autoloader instead.
foreach (['Signature', 'Qashier', 'Orders', 'Shop'] as $name) {
    require_once __DIR__ . "/$name.php";
}
